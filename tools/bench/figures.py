"""Writes measured figures with their goals to build/bench/AREA.json (docs/formats.md)."""

from __future__ import annotations

import json
import operator
import os
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..tree import CHECKOUT

FOLDER = CHECKOUT / "build" / "bench"
DOCUMENT = CHECKOUT / "docs" / "benchmarks.md"
_COMPARE = {"==": operator.eq, "<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Figure:
    """A measured value; `goal` is like "<= 5", or "" for one that is only reported."""

    value: float
    goal: str
    unit: str

    @property
    def met(self) -> bool:
        if not self.goal:
            return True
        sign, limit = self.goal.split()
        return bool(_COMPARE[sign](self.value, float(limit)))


def write(
    area: str,
    command: str,
    figures: dict[str, Figure],
    folder: Path = FOLDER,
    *,
    keep: bool = False,
) -> Path:
    """Replaces the area's file whole: a reader finds the old figures or the new.

    With `keep` what other commands have written there stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{area}.json"
    known = json.loads(path.read_text()) if keep and path.exists() else {}
    entries = {name: entry for name, entry in known.items() if entry["command"] != command}
    entries |= {
        name: {
            "value": figure.value,
            "goal": figure.goal,
            "unit": figure.unit,
            "command": command,
        }
        for name, figure in figures.items()
    }
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(entries, indent=2) + "\n")
    os.replace(temporary, path)
    return path


def read(area: str, folder: Path = FOLDER) -> dict[str, Figure]:
    """What was written last; nothing where nothing was."""
    try:
        entries = json.loads((folder / f"{area}.json").read_text())
    except FileNotFoundError:
        return {}
    return {
        name: Figure(entry["value"], entry["goal"], entry["unit"])
        for name, entry in entries.items()
    }


def markdown(figures: dict[str, Figure]) -> str:
    """The figures as a table for a document."""
    lines = ["| figure | value | goal | unit |", "|---|---|---|---|"]
    for name, figure in figures.items():
        goal = figure.goal.replace("<=", "≤").replace(">=", "≥").replace("==", "=")
        if goal and not figure.met:
            goal += " (missed)"
        lines.append(f"| `{name}` | {_number(figure.value)} | {goal} | {figure.unit} |")
    return "\n".join(lines)


def report(
    area: str,
    command: str,
    figures: dict[str, Figure],
    console: Console,
    *,
    keep: bool = False,
) -> int:
    """Prints the figures, and writes them where they belong; the command's exit code."""
    met = show(figures, console)
    path = write(area, command, figures, keep=keep)
    document(DOCUMENT, area, markdown(figures))
    console.print(f"written to {path} and {DOCUMENT}")
    return 0 if met else 1


def document(path: Path, name: str, text: str) -> None:
    """Puts text between the two markers of that name. Raises ValueError where one is missing."""
    begin, end = f"<!-- {name}: written by the command -->", f"<!-- end of {name} -->"
    before, found, rest = path.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{path} lacks the markers {begin} and {end}")
    path.write_text(f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}")


def _number(value: float) -> str:
    return f"{value:,}" if value == int(value) else f"{value:,.6g}"


def show(figures: dict[str, Figure], console: Console) -> bool:
    """Prints the figures as a table; whether every goal was met."""
    table = Table("figure", "value", "unit", "goal", "met")
    for name, figure in figures.items():
        met = "" if not figure.goal else "yes" if figure.met else "NO"
        table.add_row(name, f"{figure.value:g}", figure.unit, figure.goal, met)
    console.print(table)
    return all(figure.met for figure in figures.values())
