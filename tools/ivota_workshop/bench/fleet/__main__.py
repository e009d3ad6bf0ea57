"""Measure everything, or only the named parts and keep the other figures; see `--help`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from ..figures import SCALE, Figure, read, report, write
from . import (
    broker,
    campaign_start,
    filled_database,
    intake,
    month_drop,
    pages_and_queries,
    reconnect_storm,
    sizes,
)

AREA = "fleet"
COMMAND = "make bench-fleet"
PARTS = ("intake", "broker", "storm", "start", "pages", "months")
# These figures do not depend on the number of devices in the database.
ANY_SIZE = ("intake_", "kill_", "connected", "broker_", "balancer_", "storm_")
SMALL = 10_000  # devices of the fleet that the large one is compared to


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ivota_workshop.bench.fleet")
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], help="measure these and keep the rest"
    )
    parser.add_argument("--devices", type=int, default=1_000_000, help="in the large database")
    parser.add_argument("--connected", type=int, default=3000, help="devices at the broker")
    chosen = parser.parse_args()
    console = Console()
    figures = {"devices": Figure(chosen.devices, "", "devices")}
    large, code = "", 0
    for part in chosen.parts or PARTS:
        console.rule(part)
        if part in ("start", "pages", "months") and not large:
            large = filled_database.make(chosen.devices)
            console.print(f"{chosen.devices:,} devices")
        with tempfile.TemporaryDirectory(prefix="ivota-bench-") as folder:
            if part == "intake":
                figures |= intake.measure(console)
            elif part == "broker":
                figures |= broker.measure(Path(folder), chosen.connected, console)
            elif part == "storm":
                figures |= reconnect_storm.measure(Path(folder), console)
            elif part == "start":
                figures |= campaign_start.measure(large, chosen.devices, console)
            elif part == "months":
                rows = 2 * chosen.devices
                figures |= month_drop.measure(large, chosen.devices, rows, console)
            else:
                small, empty = filled_database.make(SMALL), filled_database.make(0)
                figures |= pages_and_queries.measure(Path(folder), large, small, empty)
        # Keep what has been measured even if a later part fails.
        write(AREA, COMMAND, _others(chosen.devices) | figures if chosen.parts else figures)
        code = report(AREA, COMMAND, figures, console, part=bool(chosen.parts), page=SCALE)
        if sizes.INPUTS.keys() <= sizes.documented(SCALE).keys():
            sizes.write()
    return code


def _others(devices: int) -> dict[str, Figure]:
    """Return the figures of earlier runs that are of a fleet of the same size, or of any."""
    found = read(AREA)
    if found and found["devices"].value == devices:
        return found
    return {name: each for name, each in found.items() if name.startswith(ANY_SIZE)}


if __name__ == "__main__":
    sys.exit(main())
