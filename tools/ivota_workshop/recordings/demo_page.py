"""Put the demo's output into docs/demo.md: the tables, and the lines printed before them."""

from __future__ import annotations

from pathlib import Path

from ivota_tools.common.project_files import CHECKOUT

PAGE = CHECKOUT / "docs" / "demo.md"
BEGIN = "<!-- written by `make recordings` -->"
END = "<!-- end of what `make recordings` writes -->"

_SHOWN = """
## The results

```text
{tables}
```

## Second by second

```text
{scenes}
```

"""


def write(printed: str, page: Path = PAGE) -> Path:
    """Put the output between the markers."""
    before, _, after = _parts(page.read_text())
    lines = printed.rstrip().splitlines()
    # Each table is preceded by its title.
    first = next(number for number, line in enumerate(lines) if line.startswith("╭")) - 1
    shown = _SHOWN.format(
        tables="\n".join(lines[first:]), scenes="\n".join(lines[:first]).strip("\n")
    )
    page.write_text(f"{before}{BEGIN}\n{shown}{END}{after}")
    return page


def read(page: Path = PAGE) -> str:
    """Return the text between the markers. Raises ValueError if one is missing."""
    return _parts(page.read_text())[1]


def _parts(text: str) -> tuple[str, str, str]:
    before, begin, rest = text.partition(BEGIN)
    shown, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the markers of the demo's output are missing")
    return before, shown, after
