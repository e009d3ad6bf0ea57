"""How a scene is shown: bars on a terminal, lines elsewhere, a table at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

if TYPE_CHECKING:
    from ivota_tools.demo.update import Outcome, State


class Show(Protocol):
    """What is shown of a scene while it is played."""

    def say(self, sentence: str) -> None: ...

    def begin(self, size: int) -> None:
        """A download of `size` bytes starts."""

    def update(self, device: dict[str, Any], received: int) -> None:
        """The board as the cloud sees it, and bytes that passed the proxy towards it."""


class Lines:
    """For pipes and logs: a line for every event, state, and tenth of a download."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()
        self._shown: tuple[object, ...] = ()

    def say(self, sentence: str) -> None:
        at = f"{time.monotonic() - self._start:5.1f} s"
        self._console.print(at, sentence, markup=False, soft_wrap=True)

    def begin(self, size: int) -> None:
        pass

    def update(self, device: dict[str, Any], received: int) -> None:
        percent = device["percent"] if device["state"] == "downloading" else None
        tenth = None if percent is None else percent // 10
        if self._shown == (device["state"], tenth):
            return
        self._shown = device["state"], tenth
        how = device["state"] if percent is None else f"{device['state']} {percent} %"
        self.say(f"the cloud sees: {how}")


class Bars(Lines):
    """For a terminal: the same lines but for the percents, which are a bar of the cloud's."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(progress.console)
        self._progress = progress

    def begin(self, size: int) -> None:
        self._cloud = self._progress.add_task("the cloud sees", total=100, words="")
        self._proxy = self._progress.add_task("bytes at the proxy", total=size, words="")

    def update(self, device: dict[str, Any], received: int) -> None:
        percent = 100 if device["state"] == "done" else device["percent"] or 0
        words = f"{device['state']} {percent} %"
        self._progress.update(self._cloud, completed=percent, words=words)
        self._progress.update(self._proxy, completed=received, words=f"{received:,}")


@contextmanager
def showing(console: Console) -> Iterator[Show]:
    """Bars on a terminal, lines elsewhere."""
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


def table(outcome: Outcome) -> Table:
    """What is to be known of a scene."""
    result = Table(show_header=False)
    more = outcome.received_bytes - outcome.firmware_bytes
    states = "\n".join(_state(state) for state in outcome.states)
    right = "right" if outcome.md5_on_flash == outcome.md5 else "WRONG"
    result.add_row("the cloud saw", states)
    result.add_row("firmware", f"{outcome.firmware_bytes:,} bytes")
    result.add_row(
        "received",
        f"{outcome.received_bytes:,} bytes, {100 * more / outcome.firmware_bytes:.1f} % more, "
        "with HTTP's headers",
    )
    result.add_row("cuts", f"{outcome.link_cuts} of the link, {outcome.power_cuts} of the power")
    result.add_row("resumes", str(outcome.resumes))
    result.add_row("MD5 on flash", f"{outcome.md5_on_flash}, {right}")
    result.add_row("runs now", f"{outcome.version_after}, before it was {outcome.version_before}")
    return result


def _state(state: State) -> str:
    percents = state.percents
    how = f" {percents[0]} to {percents[-1]} %" if percents else ""
    return f"{state.first_s:5.1f} s  {state.name}{how}"
