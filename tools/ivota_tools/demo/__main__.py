"""Run the demo with `python -m ivota_tools.demo`."""

import argparse
import signal
import sys
from pathlib import Path


def run() -> int:
    """Run the demo and return the exit code."""
    # Imports take a second, and Ctrl-C must not print a traceback meanwhile.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ivota_tools.demo.command import BUILD, main

    parser = argparse.ArgumentParser(prog="python -m ivota_tools.demo", description=main.__doc__)
    parser.add_argument(
        "--build", type=Path, default=BUILD, help="output folder, also for demo.json"
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep the console and the board running until Ctrl-C"
    )
    given = parser.parse_args()
    return main(given.build, keep=given.keep)


if __name__ == "__main__":
    sys.exit(run())
