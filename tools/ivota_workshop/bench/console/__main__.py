"""Measure everything, or only the named parts and keep the other figures; see `--help`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from ..figures import Figure, read, report, write
from . import fleet, flood, kills, latency, pages

AREA = "console"
COMMAND = "make bench-console"
PARTS = ("latency", "flood", "kills", "fleet", "pages")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ivota_workshop.bench.console")
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], help="measure these and keep the rest"
    )
    parser.add_argument("--devices", type=int, default=10_000, help="in the swarm")
    chosen = parser.parse_args()
    console = Console()
    before = read(AREA) if chosen.parts else {}
    figures: dict[str, Figure] = {}
    with tempfile.TemporaryDirectory(prefix="ivota-bench-") as name:
        folder = Path(name)
        for part in chosen.parts or PARTS:
            console.rule(part)
            if part == "latency":
                figures |= latency.measure(folder / part)
            elif part == "flood":
                figures |= flood.measure(folder / part)
            elif part == "kills":
                figures |= kills.measure(folder / part, console)
            elif part == "pages":
                figures |= pages.measure(folder / part, chosen.devices, console)
            else:
                figures |= fleet.measure(folder / part, chosen.devices, console)
            # Keep what has been measured even if a later part fails.
            write(AREA, COMMAND, before | figures)
    return report(AREA, COMMAND, figures, console, part=bool(chosen.parts))


if __name__ == "__main__":
    sys.exit(main())
