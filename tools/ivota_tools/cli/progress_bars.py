"""Show the progress of long work: bars with speed and time left, or lines without a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ..common.plain_text import plain
from ..common.progress import Begin, Done, silent

LINE_S = 5.0  # between two lines; work that takes less has none


class _Rate(ProgressColumn):
    """Bytes per second, for work that has a size."""

    def render(self, task: Task) -> Text:
        size, speed = task.fields["size"], task.finished_speed or task.speed
        return Text(f"{decimal(int(speed * size))}/s" if size and speed else "")


@contextmanager
def bars(console: Console, quiet: bool = False) -> Iterator[Begin]:
    """Yield a function that begins a bar on a terminal, or lines elsewhere; it does nothing with
    `quiet`.
    """
    if quiet:
        yield silent
        return
    if not console.is_terminal:
        yield lambda what, size=None, /: _Lines(console, what, size).at
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:

        def begin(what: str, size: int | None = None, /) -> Done:
            task = progress.add_task(escape(plain(what)), total=1.0, size=size)
            return lambda share: progress.update(task, completed=share)

        yield begin


class _Lines:
    """The progress of one piece of work as lines of text."""

    def __init__(self, console: Console, what: str, size: int | None) -> None:
        self._console, self._what, self._size = console, what, size
        self._began = self._told = time.monotonic()

    def at(self, share: float) -> None:
        now = time.monotonic()
        if now - self._told < LINE_S or not 0 < share < 1:
            return
        self._told = now
        rate = share / (now - self._began)
        words = [f"{share:.0%}"]
        if self._size:
            words.append(f"{decimal(int(rate * self._size))}/s")
        words.append(f"{timedelta(seconds=round((1 - share) / rate))} left")
        line = f"{self._what}: {', '.join(words)}"
        self._console.print(plain(line), markup=False, soft_wrap=True)
