"""Measures everything, or the parts that are named; `--devices N` for a smaller swarm."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from ...tree import CHECKOUT
from ..figures import Figure, document, markdown, read, show, write
from . import fleet, flood, kills, latency, pages

AREA = "console"
COMMAND = "make bench-console"
DOCUMENT = CHECKOUT / "docs" / "benchmarks.md"
PARTS = ("latency", "flood", "kills", "fleet", "pages")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ivota_tools.bench.console")
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    parser.add_argument("--devices", type=int, default=10_000)
    chosen = parser.parse_args()
    console = Console()
    figures: dict[str, Figure] = read(AREA) if chosen.parts else {}
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
            path = write(AREA, COMMAND, figures)
    met = show(figures, console)
    document(DOCUMENT, AREA, markdown(figures))
    console.print(f"written to {path} and {DOCUMENT}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
