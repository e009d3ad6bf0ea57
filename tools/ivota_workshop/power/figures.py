"""Write the proof's figures: to build/bench/, as tables, and to docs/power.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ivota_tools.common import atomic_write
from ivota_tools.common.project_files import CHECKOUT

from ..bench import figures as bench
from ..bench.figures import Figure
from .cuts import KINDS
from .fat import INTERVAL, Outcome
from .judge import LOSS_MOST
from .plan import DOUBLE
from .reports import SORTS
from .scenarios import scenarios
from .tally import Cell, Tally

DOCUMENT = CHECKOUT / "docs" / "power.md"
_ZERO = tuple(sort for sort in SORTS if sort != "lost")


def expected_cells() -> list[Cell]:
    """Return every kind of cut for every scenario, also for the scenarios with two cuts."""
    found = scenarios()
    rows = [(each.storage, each.payload, name) for name, each in found.items()]
    rows += [(found[n].storage, found[n].payload, f"{n} twice") for n in DOUBLE]
    return [(kind, *row) for row in rows for kind in KINDS]


def of(tally: Tally, states: int) -> dict[str, Figure]:
    """Return the figures; `states` is the required number of states."""
    empty = sum(not tally.cells[cell] for cell in expected_cells())
    found = {
        "cut_states": Figure(tally.states, f">= {states}", "states"),
        "cut_states_empty_cells": Figure(empty, "== 0", "cells"),
        "double_cut_states": Figure(tally.doubles, "", "states"),
        "between_states": Figure(tally.between, "", "states"),
        "random_runs": Figure(tally.randoms, "", "runs"),
        "failing_flashes": Figure(tally.errors, ">= 1", "cases"),
        "full_flashes": Figure(tally.full, ">= 1", "cases"),
        "flipped_bits": Figure(tally.flips, ">= 1", "cases"),
    }
    for sort in _ZERO:
        found[sort] = Figure(tally.faults[sort], "== 0", "cases")
    for storage, lost in sorted(tally.loss.items()):
        found[f"loss_max_{storage}"] = Figure(lost, f"<= {LOSS_MOST[storage]}", "bytes")
    return found


def write(
    area: str, command: str, figures: dict[str, Figure], tally: Tally, more: Mapping[str, Any]
) -> Path:
    """Write like other figures, and add `cut_states_by`, nested in the order of a cell's names."""
    path = bench.write(area, command, figures)
    entries = json.loads(path.read_text())
    by: dict[str, Any] = {}
    for cell in expected_cells():
        inner = by
        for name in cell[:-1]:
            inner = inner.setdefault(name, {})
        inner[cell[-1]] = tally.cells[cell]
    entries["cut_states_by"] = {
        "value": by,
        "goal": "no 0",
        "unit": "states: kind, storage, payload, scenario",
        "command": command,
    }
    for name, value in more.items():
        entries[name] = {"value": value, "goal": "", "unit": "", "command": command}
    atomic_write.write(path, json.dumps(entries, indent=2) + "\n")
    return path


def rows(tally: Tally) -> list[Sequence[str]]:
    """Return a table's rows: storage, payload, scenario, and a number for each kind of cut."""
    found = dict.fromkeys(cell[1:] for cell in expected_cells())
    return [
        [*each, *(f"{tally.cells[(kind, each[0], each[1], each[2])]:,}" for kind in KINDS)]
        for each in sorted(found)
    ]


HEAD = ("storage", "payload", "scenario", "before", "part done", "random bits")


def show(tally: Tally, console: Console, outcomes: Mapping[str, Outcome] | None = None) -> None:
    table = Table(*HEAD)
    for row in rows(tally):
        table.add_row(*row)
    console.print(table)
    if outcomes:
        table = Table(*FAT_HEAD)
        for row in fat_rows(outcomes):
            table.add_row(*row)
        console.print(table)


FAT_HEAD = ("cut on FAT", "states", "resumed", "started over", "fail -5", "bytes again")


def fat_rows(outcomes: Mapping[str, Outcome]) -> list[Sequence[str]]:
    return [
        [kind, *(f"{n:,}" for n in (o.states, o.resumed, o.afresh, o.failed, o.lost))]
        for kind, o in outcomes.items()
    ]


def of_fat(outcomes: Mapping[str, Outcome]) -> dict[str, Figure]:
    lost = max(each.lost for each in outcomes.values())
    return {
        "fat_cut_states": Figure(sum(o.states for o in outcomes.values()), "", "states"),
        "fat_wrong": Figure(sum(len(o.wrong) for o in outcomes.values()), "== 0", "cases"),
        "fat_failed": Figure(sum(o.failed for o in outcomes.values()), "", "cases"),
        "loss_max_fat": Figure(lost, f"<= {INTERVAL}", "bytes"),
    }


def markdown(
    figures: dict[str, Figure], tally: Tally, outcomes: Mapping[str, Outcome] | None = None
) -> str:
    lines = [
        bench.markdown(figures),
        "",
        f"| {' | '.join(HEAD)} |",
        "|---|---|---|---:|---:|---:|",
        *(f"| {' | '.join(row)} |" for row in rows(tally)),
    ]
    if outcomes:
        lines += ["", f"| {' | '.join(FAT_HEAD)} |", "|---|---:|---:|---:|---:|---:|"]
        lines += [f"| {' | '.join(row)} |" for row in fat_rows(outcomes)]
    return "\n".join(lines)
