"""README.md shows the demo's output as it was printed, between two markers.

The tables come first there; the lines that were printed before them can be folded out.
"""

from __future__ import annotations

from pathlib import Path

BEGIN = "<!-- The output of `make demo`, by `python -m ivota_tools.demo --write-readme` -->"
END = "<!-- end of the output -->"

_SHOWN = """
```text
{tables}
```

<details>
<summary>All that it prints, second by second</summary>

```text
{scenes}
```

</details>
"""


def write(path: Path, printed: str) -> None:
    """Puts `printed` between the markers."""
    before, _, after = _parts(path.read_text())
    lines = printed.rstrip().splitlines()
    # Each table has its title above it.
    first = next(number for number, line in enumerate(lines) if line.startswith("╭")) - 1
    shown = _SHOWN.format(
        tables="\n".join(lines[first:]), scenes="\n".join(lines[:first]).strip("\n")
    )
    path.write_text(f"{before}{BEGIN}{shown}{END}{after}")


def read(path: Path) -> str:
    """What stands between the markers. Raises ValueError where one is missing."""
    return _parts(path.read_text())[1]


def _parts(text: str) -> tuple[str, str, str]:
    before, begin, rest = text.partition(BEGIN)
    shown, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the markers of the demo's output are missing")
    return before, shown, after
