"""Start the command `ivota`; Ctrl-C ends it without a traceback, even while it loads."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; an interrupt during start-up exits with 130, as in a shell."""
    try:
        from .cli.app import app

        app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
