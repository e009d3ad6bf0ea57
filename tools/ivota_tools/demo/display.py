"""Show scenes: progress bars on a terminal, lines elsewhere, tables at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from ivota_tools.cli.device_views import reason

BAD, GOOD = "red", "green"  # styles of failures and of recoveries
_STYLES = {"done": GOOD, "retry": BAD, "failed": BAD}

_NAMES, _VALUES = 13, 52  # minimum widths, so that the tables line up


class Show(Protocol):
    """Show the progress of a scene."""

    def say(self, sentence: str, style: str = "") -> None: ...

    def begin(self, size: int) -> None:
        """Start showing a download of `size` bytes."""

    def update(self, device: dict[str, Any], received: int) -> None:
        """Show the board's state in the cloud, and the bytes that the proxy forwarded to it."""


class Lines:
    """Print a line per event, state and quarter of a download, for pipes and logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()
        self._shown: tuple[object, ...] = ()

    def say(self, sentence: str, style: str = "") -> None:
        at = f"{time.monotonic() - self._start:5.1f} s"
        self._console.print(Text(at, style="dim"), Text(sentence, style=style), soft_wrap=True)

    def begin(self, size: int) -> None:
        pass

    def update(self, device: dict[str, Any], received: int) -> None:
        percent = device["percent"] if device["state"] == "downloading" else None
        quarter = None if percent is None else percent // 25
        if self._shown == (device["state"], quarter):
            return
        self._shown = device["state"], quarter
        how = device["state"] if percent is None else f"{device['state']} {percent} %"
        why = reason(device)
        style = _STYLES.get(device["state"], "")
        self.say(f"the cloud sees: {how}{why and f' ({why})'}", style)


class Bars(Lines):
    """Print the same lines on a terminal, with a progress bar for states and percentages."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(progress.console)
        self._progress = progress

    def begin(self, size: int) -> None:
        self._cloud = self._progress.add_task("the cloud sees", total=100, words="")
        self._proxy = self._progress.add_task("bytes at the proxy", total=size, words="")

    def update(self, device: dict[str, Any], received: int) -> None:
        percent = 100 if device["state"] == "done" else device["percent"] or 0
        words = f"{device['state']} {percent} %"
        if device["state"] in ("retry", "failed"):  # the reason is too long for a bar
            words = device["state"]
            super().update(device, received)
        self._progress.update(self._cloud, completed=percent, words=words)
        self._progress.update(self._proxy, completed=received, words=f"{received:,}")


@contextmanager
def showing(console: Console, title: str) -> Iterator[Show]:
    """Print a heading; then show bars on a terminal, or print lines elsewhere."""
    console.print(title, style="bold")
    if not console.is_terminal:
        yield Lines(console)
        return
    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield Bars(progress)


def print_table(console: Console, title: str, rows: list[tuple[str, str]]) -> None:
    """Print a table with the results of a scene."""
    table = Table(show_header=False, box=box.ROUNDED)
    table.add_column(style="cyan", min_width=_NAMES)
    # Beside the text: four blanks and three lines. A narrow terminal wraps it.
    table.add_column(min_width=min(_VALUES, console.width - _NAMES - 7), overflow="fold")
    for name, value in rows:
        words = Text(value)
        words.highlight_words([judged(True)], "bold green")
        words.highlight_words([judged(False), "fail"], "bold red")
        table.add_row(name, words)
    console.print()
    console.print(title, style="bold")
    console.print(table)


def judged(right: bool) -> str:
    """Return how a table shows that a checksum is right."""
    return "right" if right else "WRONG"
