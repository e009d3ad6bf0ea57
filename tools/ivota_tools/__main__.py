"""The command `ivota`, also while it still loads: Ctrl-C ends it without a traceback."""

from __future__ import annotations

import sys


def main() -> None:
    """Exit code 130, as shells have it, where it is interrupted before it has begun."""
    try:
        from .cli.app import app

        app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
