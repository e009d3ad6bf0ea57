"""Describe the results of the cases in words, as tables for a document."""

from __future__ import annotations

from collections.abc import Mapping

from ..figures import Figure
from .cases import CASES, Case
from .run import DONE, GIVES_UP, Run
from .ways import OURS, WAYS, Way

Runs = Mapping[tuple[str, str], Run]  # by the names of case and downloader

_WIRE_GOALS = {"end_64k": "<= 1.01", "reset_64k": "<= 1.01"}


def outcome(run: Run, case: Case) -> str:
    """Describe the downloader's result in a few words."""
    if run.whole:
        return "complete"
    if run.says == DONE:
        what = "complete" if run.right == (run.length or 0) else "correct"
        return f"**accepts {run.length or 0:,} bytes as {what}**"
    old = "keeps the old file" if run.old else "**loses the old file**"
    if run.says == GIVES_UP:
        return f"gives up after {run.tries} tries, {old}"
    return f"**still waiting after {case.limit_s:g} s**, {old}"


def outcomes(runs: Runs) -> str:
    """Return a row for each case: result, and bytes over the link per byte of the firmware."""
    lines = [_row("", *(way.label for way in WAYS)), _rule(len(WAYS))]
    for case in CASES:
        found = [runs[case.name, way.name] for way in WAYS]
        cells = (f"{outcome(run, case)}<br>{run.received / run.size:.3f}" for run in found)
        lines.append(_row(case.title, *cells))
    return "\n".join(lines)


def costs(figures: Mapping[str, Figure]) -> str:
    """Return a row for each cost of a download."""
    rows = {
        "smallest heap, bytes": ("heap_bytes_min_32bit", "{:,.0f}"),
        "flash erases per block of 4,096 bytes": ("erases_per_block", "{:.3f}"),
        "instructions per byte": ("instructions_per_byte", "{:,.1f}"),
    }
    lines = [_row("", *(way.label for way in WAYS)), _rule(len(WAYS))]
    for title, (name, form) in rows.items():
        values = (figures[f"{name}_{way.name}"].value for way in WAYS)
        lines.append(_row(title, *(form.format(value) for value in values)))
    return "\n".join(lines)


def figures_of(runs: Runs) -> dict[str, Figure]:
    """Return a run's figures; ours have goals."""
    found: dict[str, Figure] = {}
    for case in CASES:
        for way in WAYS:
            run, name = runs[case.name, way.name], f"{case.name}_{way.name}"
            goals = {"whole": "== 1", "wire": _WIRE_GOALS.get(case.name, "")}
            found |= {
                f"whole_{name}": Figure(int(run.whole), _goal(way, goals["whole"]), "yes or no"),
                f"right_{name}": Figure(run.right, "", "bytes"),
                f"wire_ratio_{name}": Figure(
                    round(run.received / run.size, 4), _goal(way, goals["wire"]), "bytes/byte"
                ),
                f"tries_{name}": Figure(run.tries, "", "tries"),
                f"seconds_{name}": Figure(run.seconds, "", "s"),
            }
    return found


def _goal(way: Way, goal: str) -> str:
    return goal if way is OURS else ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(columns: int) -> str:
    return "|---" * (columns + 1) + "|"
