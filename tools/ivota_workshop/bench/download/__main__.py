"""`make bench-download`: write the figures of downloads to build/bench/ and docs/benchmarks.md."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from ivota_tools.common.project_files import CHECKOUT

from ..figures import Figure, document, report
from ..steps import steps
from . import budget, code, flash, heap, instructions, wire

AREA = "download"
COMMAND = "make bench-download"
DESIGN = CHECKOUT / "docs" / "design.md"  # contains the heap table
PARTS = {
    "heap": heap.figures,
    "code": code.figures,
    "instructions": instructions.figures,
    "flash": flash.figures,
    "wire": wire.figures,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m ivota_workshop.bench.{AREA}")
    parser.add_argument(
        "--only", choices=list(PARTS), action="append", help="measure this and keep the rest"
    )
    given = parser.parse_args()
    console = Console()
    figures: dict[str, Figure] = {}
    wanted = given.only or list(PARTS)
    with steps(console, len(wanted)) as step:
        for name in wanted:
            step(name)
            figures.update(PARTS[name]())
            if name == "heap":
                document(DESIGN, "budget", budget.markdown(*budget.measure()))
    sys.exit(report(AREA, COMMAND, figures, console, part=bool(given.only)))


if __name__ == "__main__":
    main()
