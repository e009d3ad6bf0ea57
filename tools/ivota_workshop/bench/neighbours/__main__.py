"""`make bench-neighbours`: check the other programs; write build/bench/ and docs/benchmarks.md."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from rich.console import Console

from ..figures import Figure, read, report
from ..steps import steps
from . import ddi_cases, ha_heap, ha_soak, rauc, swupdate_cases
from .ddi_stage import Stage

AREA = "neighbours"
COMMAND = "make bench-neighbours"


def right(console: Console, cases: Mapping[str, Callable[[Stage], None]]) -> set[str]:
    """Return the names of the cases that succeed; print why the others fail."""
    found: set[str] = set()
    with Stage.open() as stage:
        for name, case in cases.items():
            try:
                case(stage)
                found.add(name)
            except Exception as error:
                console.print(f"{name}: {error!r}", markup=False)
    return found


def ddi(console: Console) -> dict[str, Figure]:
    tried, found = len(ddi_cases.CASES), len(right(console, ddi_cases.CASES))
    return {
        "ddi_cases": Figure(tried, ">= 12", "cases"),
        "ddi_cases_right": Figure(found, f"== {tried}", "cases"),
    }


def swupdate(console: Console) -> dict[str, Figure]:
    found = right(console, swupdate_cases.CASES)
    done = found.issuperset(swupdate_cases.CASES)
    return {
        "ddi_swupdate_done": Figure(done, "== 1", "true or false"),
        "ddi_rauc_downloads": Figure(bool(right(console, rauc.CASES)), "== 1", "true or false"),
    }


def home_assistant(_console: Console) -> dict[str, Figure]:
    """Keep the soak's figures: only the soak counts the states."""
    known, missing = read(AREA), Figure(0, ">= 5", "states", "run make soak-ha")
    found = {name: known.get(name) or missing for name in ha_soak.FIGURES}
    return found | ha_heap.measure()


PARTS = {"DDI": ddi, "SWUpdate and RAUC": swupdate, "Home Assistant": home_assistant}


def main() -> None:
    console = Console()
    figures: dict[str, Figure] = {}
    with steps(console, len(PARTS)) as step:
        for name, part in PARTS.items():
            step(name)
            figures |= part(console)
    sys.exit(report(AREA, COMMAND, figures, console))


if __name__ == "__main__":
    main()
