"""`make bench-download`: the figures of downloads, into build/bench/ and docs/benchmarks.md."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from ...tree import CHECKOUT
from ..figures import document, markdown, read, show, write
from . import budget, flash, heap, instructions, wire

AREA = "download"
COMMAND = "make bench-download"
DOCUMENT = CHECKOUT / "docs" / "benchmarks.md"
DESIGN = CHECKOUT / "docs" / "design.md"  # has the heap line by line
PARTS = {
    "heap": heap.figures,
    "code": heap.code_figures,
    "instructions": instructions.figures,
    "flash": flash.figures,
    "wire": wire.figures,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m ivota_tools.bench.{AREA}")
    parser.add_argument(
        "--only", choices=list(PARTS), action="append", help="measure this and keep the rest"
    )
    given = parser.parse_args()
    console = Console()
    figures = read(AREA) if given.only else {}
    for name, measure in PARTS.items():
        if name in (given.only or PARTS):
            console.print(f"measuring: {name}")
            figures.update(measure())
    if "heap" in (given.only or PARTS):
        document(DESIGN, "budget", budget.markdown(*budget.measure()))
    met = show(figures, console)
    path = write(AREA, COMMAND, figures)
    document(DOCUMENT, AREA, markdown(figures))
    console.print(f"written to {path} and {DOCUMENT}")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
