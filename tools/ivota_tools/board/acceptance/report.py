"""Write a test's report, as JSON and as Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write(report: dict[str, Any], name: Path) -> tuple[Path, Path]:
    """Write both files, with .json and .md added to the name."""
    paths = name.with_name(name.name + ".json"), name.with_name(name.name + ".md")
    name.parent.mkdir(parents=True, exist_ok=True)
    paths[0].write_text(json.dumps(report, indent=2) + "\n")
    paths[1].write_text(markdown(report))
    return paths


def markdown(report: dict[str, Any]) -> str:
    board = report["board"]
    outcomes = [each["outcome"] for each in report["steps"]]
    counts = ", ".join(
        f"{outcomes.count(name)} {word}"
        for name, word in (("PASS", "passed"), ("FAIL", "failed"), ("SKIP", "skipped"))
        if name in outcomes
    )
    lines = [
        f"# {_cell(report['title'])}",
        "",
        "Written by `ivota board test`.",
        "",
        "| | |",
        "|---|---|",
        f"| board | {_cell(board['machine'])} |",
        f"| MicroPython | {_cell(board['version'])} ({_cell(board['platform'])}) |",
        f"| file system | {_cell(board['file_system'] or 'unknown')}, "
        f"{board['size'] // 1024} KiB, {board['free'] // 1024} KiB free before the test |",
        f"| network | {', '.join(report['network']) or 'as configured on the board'} |",
        f"| reset by | {_cell(report['reset_by'] or 'nothing')} |",
        f"| ivota | {_cell(report['ivota'])} |",
        f"| date | {_cell(report['began'][:10])} |",
        f"| steps | {counts} |",
        "",
        "| step | outcome | details | seconds |",
        "|---|---|---|---|",
    ]
    for each in report["steps"]:
        row = each["title"], each["outcome"], each["seen"], f"{each['seconds']:.1f}"
        lines.append("| " + " | ".join(_cell(str(field)) for field in row) + " |")
    for each in report["steps"]:
        printed = each["values"].get("printed")
        if printed:
            lines += [
                "",
                f"## {_cell(each['title'])}",
                "",
                "The last lines that the board printed:",
            ]
            lines += ["", *(f"    {line}" for line in printed)]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
