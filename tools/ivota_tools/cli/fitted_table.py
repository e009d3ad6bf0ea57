"""Fit a table into a terminal: cells stay whole, and the least important columns are dropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from .terminal import cell, out, titled_table

WRAPPED_LEAST = 24  # characters of a column whose longer cells are wrapped


def fitted_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Text | str]],
    *,
    dropped: Sequence[str] = (),
    wrapped: Sequence[str] = (),
    wrapped_least: int = WRAPPED_LEAST,
    ends_part: Callable[[int], bool] = lambda _number: False,
    width: int | None = None,
) -> Table:
    """Render rows, each a mapping from column to cell, in at most `width` characters.

    `dropped` names the columns that a narrow terminal lacks, the first one first. Only cells of
    the columns in `wrapped` take several lines. A line follows each row whose number `ends_part`.
    """
    shown = list(columns)
    # Use Text, never str: text from a device is not markup.
    texts = [
        {name: each if isinstance(each, Text) else cell(each) for name, each in row.items()}
        for row in rows
    ]
    least = {
        name: max((cell_len(row[name].plain) for row in texts), default=0) for name in columns
    }
    for name in columns:
        if name in wrapped:
            least[name] = min(least[name], wrapped_least)
        least[name] = max(least[name], cell_len(name))
    for name in dropped:
        if sum(least[each] + 3 for each in shown) + 1 <= (width or out.width):
            break
        if name in shown:
            shown.remove(name)
    table = titled_table(title, *shown)
    for column in table.columns:
        column.no_wrap = column.header not in wrapped
        column.overflow = "fold"
    for number, row in enumerate(texts):
        table.add_row(*(row[name] for name in shown), end_section=ends_part(number))
    return table
