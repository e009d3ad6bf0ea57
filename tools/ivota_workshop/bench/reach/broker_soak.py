"""`make soak-brokers`: update a board through each third-party broker."""

from __future__ import annotations

import sys
import time

from rich.console import Console

from ivota_tools.toolchain import ToolchainError

from .broker_cases import NotServed, run
from .brokers import PARTS


def main() -> None:
    console = Console()
    wrong = 0
    for part in PARTS:
        start = time.monotonic()
        try:
            run(part)
            said = "a whole update"
            if part.drops:
                said += " with another prefix; drops $ota, and the cloud says so"
        except (NotServed, RuntimeError, ToolchainError, OSError) as error:
            wrong += 1
            said = f"FAILS: {error}"
        console.print(f"{part.name}: {said} ({time.monotonic() - start:.0f} s)", markup=False)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
