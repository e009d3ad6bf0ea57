"""`python -m ivota_tools.demo`."""

import argparse
import signal
import sys
from pathlib import Path


def run() -> int:
    """Returns the exit code."""
    # Importing takes a second, in which Ctrl-C shall not print where it was.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from ivota_tools.demo.command import BUILD, main

    parser = argparse.ArgumentParser(prog="python -m ivota_tools.demo", description=main.__doc__)
    parser.add_argument(
        "--build", type=Path, default=BUILD, help="folder for demo.json and all that is made"
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave console and board running until Ctrl-C"
    )
    given = parser.parse_args()
    return main(given.build, keep=given.keep)


if __name__ == "__main__":
    sys.exit(run())
