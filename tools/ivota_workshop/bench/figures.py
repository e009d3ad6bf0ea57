"""Write measured figures with their goals to build/bench/AREA.json (docs/formats.md).

`python -m ivota_workshop.bench.figures` copies the missed goals of docs/benchmarks.md and
docs/scale.md into docs/design.md.
"""

from __future__ import annotations

import json
import operator
import re
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ivota_tools.common import atomic_write
from ivota_tools.common.project_files import CHECKOUT

FOLDER = CHECKOUT / "build" / "bench"
DOCUMENT = CHECKOUT / "docs" / "benchmarks.md"
SCALE = CHECKOUT / "docs" / "scale.md"  # has those of channels
DESIGN = CHECKOUT / "docs" / "design.md"  # explains each missed goal
_COMPARE = {"==": operator.eq, "<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True)
class Figure:
    """A measured value; `goal` is like "<= 5", or "" if the value is only reported. If
    nothing was measured, there is a `reason`, and the value is null in the file.
    """

    value: float
    goal: str
    unit: str
    reason: str = ""

    @property
    def met(self) -> bool:
        if not self.goal or self.reason:
            return True
        sign, limit = self.goal.split()
        return bool(_COMPARE[sign](self.value, float(limit)))


def write(
    area: str,
    command: str,
    figures: dict[str, Figure],
    folder: Path | None = None,
    *,
    keep: bool = False,
) -> Path:
    """Replace the area's file atomically: a reader finds the old figures or the new ones.

    `keep` preserves the figures that other commands have written there.
    """
    path = (folder or FOLDER) / f"{area}.json"
    known = json.loads(path.read_text()) if keep and path.exists() else {}
    entries = {name: entry for name, entry in known.items() if entry["command"] != command}
    entries |= {
        name: {
            "value": None if figure.reason else figure.value,
            "goal": figure.goal,
            "unit": figure.unit,
            "command": command,
        }
        | ({"reason": figure.reason} if figure.reason else {})
        for name, figure in figures.items()
    }
    atomic_write.write(path, json.dumps(entries, indent=2) + "\n")
    return path


def read(area: str, folder: Path | None = None) -> dict[str, Figure]:
    """Return the figures that were written last, or none if there are none."""
    try:
        entries = json.loads(((folder or FOLDER) / f"{area}.json").read_text())
    except FileNotFoundError:
        return {}
    return {
        name: Figure(entry["value"] or 0, entry["goal"], entry["unit"], entry.get("reason", ""))
        for name, entry in entries.items()
    }


def markdown(figures: dict[str, Figure], table: str = "") -> str:
    """Return the figures as a table for a document; keep the other rows of an existing `table`."""
    rows = {line.split("`")[1]: line for line in table.splitlines() if line.startswith("| `")}
    for name, figure in figures.items():
        goal = figure.goal.replace("<=", "≤").replace(">=", "≥").replace("==", "=")
        if goal and not figure.met:
            goal += " (missed)"
        value = figure.reason or _number(figure.value)
        rows[name] = f"| `{name}` | {value} | {goal} | {figure.unit} |"
    return "\n".join(["| figure | value | goal | unit |", "|---|---|---|---|", *rows.values()])


def report(
    area: str,
    command: str,
    figures: dict[str, Figure],
    console: Console,
    *,
    keep: bool = False,
    part: bool = False,
    page: Path | None = None,
) -> int:
    """Print the figures and write them to their files; return the command's exit code.

    `page`: the document that contains them, by default docs/benchmarks.md.
    `part`: these are only some of the area's figures. The others are kept; in the document, so are
    figures that were measured elsewhere.
    """
    known = read(area) | figures if part else figures
    met = show(known, console)
    path = write(area, command, known, keep=keep)
    page = page or DOCUMENT
    document(page, area, markdown(figures, _split(page, area)[1] if part else ""))
    document(DESIGN, "missed", missed_goals())
    console.print(f"written to {path} and {page}")
    return 0 if met else 1


def missed_goals() -> str:
    """Return the rows of the documents whose goal was missed, as a table."""
    text = DOCUMENT.read_text() + SCALE.read_text()
    rows = re.findall(r"^\| `.+ \(missed\) \| .+ \|$", text, re.M)
    return "\n".join(["| figure | value | goal | unit |", "|---|---|---|---|", *rows])


def document(path: Path, name: str, text: str) -> None:
    """Replace the text between two named markers. Raises ValueError if one is missing."""
    before, _, after = _split(path, name)
    path.write_text(f"{before}\n\n{text.strip()}\n\n{after}")


def _split(path: Path, name: str) -> tuple[str, str, str]:
    """Split a document in three: up to the first marker, between both, and from the second."""
    begin, end = f"<!-- {name}: written by the command -->", f"<!-- end of {name} -->"
    before, found, rest = path.read_text().partition(begin)
    between, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{path} lacks the markers {begin} and {end}")
    return before + begin, between, end + after


def _number(value: float) -> str:
    return f"{value:,}" if value == int(value) else f"{value:,.6g}"


def show(figures: dict[str, Figure], console: Console) -> bool:
    """Print the figures as a table; return whether every goal was met."""
    table = Table("figure", "value", "unit", "goal", "met")
    for name, figure in figures.items():
        met = "" if not figure.goal else "yes" if figure.met else "NO"
        value = figure.reason or f"{figure.value:g}"
        table.add_row(name, value, figure.unit, figure.goal, met)
    console.print(table)
    return all(figure.met for figure in figures.values())


if __name__ == "__main__":
    document(DESIGN, "missed", missed_goals())
