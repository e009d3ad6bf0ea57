"""Measure the heap that a board's own entity in Home Assistant takes.

`python -m ivota_workshop.bench.neighbours.ha_heap` writes the figure.
"""

from __future__ import annotations

import sys

from rich.console import Console

from ..download import idle
from ..figures import Figure, report


def measure() -> dict[str, Figure]:
    """Compare two idle boards, of which one keeps the second session."""
    more = idle.measure(home_assistant={"mode": "install"}) - idle.measure()
    return {"home_assistant_heap_bytes_32bit": Figure(more, "", "bytes")}


if __name__ == "__main__":
    code = report(
        "neighbours", "make bench-neighbours", measure(), Console(), keep=True, part=True
    )
    sys.exit(code)
