"""`make bench-reach`: check what works unchanged; write build/bench/ and docs/benchmarks.md."""

from __future__ import annotations

import sys

from rich.console import Console

from ..figures import Figure, report
from ..steps import steps
from . import psk, server_cases, strict_cases
from .strict_client import NotUnderstood

AREA = "reach"
COMMAND = "make bench-reach"
UPDATES = ("a whole update", "an update that is cut and resumed")


def strict(console: Console) -> dict[str, Figure]:
    right: set[str] = set()
    with strict_cases.Stage.open() as stage:
        for name, case in strict_cases.CASES.items():
            try:
                case(stage)
                right.add(name)
            except (NotUnderstood, OSError) as error:
                console.print(f"{name}: {error}", markup=False)
    tried = len(strict_cases.CASES)
    return {
        "strict_client_updates": Figure(right.issuperset(UPDATES), "== 1", "true or false"),
        "strict_client_cases": Figure(tried, ">= 25", "cases"),
        "strict_client_cases_right": Figure(len(right), f"== {tried}", "cases"),
    }


def servers(console: Console) -> dict[str, Figure]:
    right = 0
    with server_cases.stage() as stage:
        for case in server_cases.CASES:
            why = stage.run(case)
            right += not why
            if why:
                console.print(f"{case.name}: {why}", markup=False)
    tried = len(server_cases.CASES)
    return {
        "servers_tried": Figure(tried, "", "servers and settings"),
        "servers_right": Figure(right, f"== {tried}", "servers and settings"),
    }


def keys(_console: Console) -> dict[str, Figure]:
    with psk.stage() as stage:
        served = psk.updates(stage, "one")
        worst = max(psk.removed_cut_s(stage, f"removed{number}") for number in range(10))
    return {
        "psk_sign_in": Figure(served, "== 1", "true or false"),
        "psk_removed_cut_ms": Figure(round(worst * 1000), "<= 1000", "ms"),
    }


PARTS = {"strict clients": strict, "pre-shared keys": keys, "real servers": servers}


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
