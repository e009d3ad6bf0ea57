"""Measure everything, or only the named parts and keep the other figures; see `--help`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from ..figures import SCALE, Figure, read, report, write
from . import campaign_start, filled_database, intake, month_drop, pages_and_queries

AREA = "fleet"
COMMAND = "make bench-fleet"
PARTS = ("intake", "start", "pages", "months")
SMALL = 10_000  # devices of the fleet that the large one is compared to
NO_BROKER = "needs RabbitMQ, which this command does not start yet"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ivota_workshop.bench.fleet")
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], help="measure these and keep the rest"
    )
    parser.add_argument("--devices", type=int, default=1_000_000, help="in the large database")
    chosen = parser.parse_args()
    parts = chosen.parts or PARTS
    console = Console()
    before = read(AREA) if chosen.parts else {}
    figures = {
        "devices": Figure(chosen.devices, "", "devices"),
        "intake_e2e_speedup_3": Figure(0, "", "times", NO_BROKER),
        "kill_worker_lost": Figure(0, "== 0", "reports", NO_BROKER),
        "kill_node_lost": Figure(0, "== 0", "reports", NO_BROKER),
    }
    large = ""
    with tempfile.TemporaryDirectory(prefix="ivota-bench-") as folder:
        for part in parts:
            console.rule(part)
            if part != "intake" and not large:
                large = filled_database.make(chosen.devices)
                console.print(f"{chosen.devices:,} devices")
            if part == "intake":
                figures |= intake.measure(console)
            elif part == "start":
                figures |= campaign_start.measure(large, chosen.devices, console)
            elif part == "months":
                rows = 2 * chosen.devices
                figures |= month_drop.measure(large, chosen.devices, rows, console)
            else:
                small, empty = filled_database.make(SMALL), filled_database.make(0)
                figures |= pages_and_queries.measure(Path(folder), large, small, empty)
            # Keep what has been measured even if a later part fails.
            write(AREA, COMMAND, before | figures)
    return report(AREA, COMMAND, figures, console, part=bool(chosen.parts), page=SCALE)


if __name__ == "__main__":
    sys.exit(main())
