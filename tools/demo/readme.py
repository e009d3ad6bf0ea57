"""README.md shows the demo's output as it was printed, between two markers."""

from __future__ import annotations

from pathlib import Path

BEGIN = "<!-- The output of `make demo`, by `python -m ivota_tools.demo --write-readme` -->"
END = "<!-- end of the output -->"


def write(path: Path, printed: str) -> None:
    """Puts `printed` between the markers."""
    before, _, after = _parts(path.read_text())
    path.write_text(f"{before}{BEGIN}\n```text\n{printed.rstrip()}\n```\n{END}{after}")


def read(path: Path) -> str:
    """What stands between the markers. Raises ValueError where one is missing."""
    return _parts(path.read_text())[1].strip().removeprefix("```text").removesuffix("```")


def _parts(text: str) -> tuple[str, str, str]:
    before, begin, rest = text.partition(BEGIN)
    shown, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the markers of the demo's output are missing")
    return before, shown, after
