"""A console that records its output with times."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from rich.ansi import AnsiDecoder
from rich.console import Console
from rich.text import Text

WIDTH = 80  # like `make demo` in a pipe

# How a recording is played: faster than in reality, with no pause longer than this.
SPEED = 2.0
PAUSE_MOST_S = 1.0

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Block:
    """Lines that were printed at the same time."""

    at_s: float
    lines: list[Text]


class TimedConsole(Console):
    """Print like a console in a pipe, and keep the output in `blocks`, with its styles."""

    def __init__(self) -> None:
        super().__init__(force_terminal=False, width=WIDTH, highlight=False, record=True)
        self.blocks: list[Block] = []

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*objects, **options)
        printed = self.export_text(clear=True, styles=True)
        lines = list(AnsiDecoder().decode(printed.removesuffix("\n")))
        self.blocks.append(Block(time.monotonic(), lines or [Text()]))

    @property
    def text(self) -> str:
        """Return the whole output, without styles."""
        return "".join(f"{line.plain}\n" for block in self.blocks for line in block.lines)


def played(moments: Iterable[tuple[float, Thing]]) -> list[tuple[float, Thing]]:
    """Convert times in seconds to seconds in a recording that is played faster."""
    found: list[tuple[float, Thing]] = []
    at_s = 0.0
    before_s: float | None = None
    for now_s, thing in moments:
        if before_s is not None:
            at_s += min((now_s - before_s) / SPEED, PAUSE_MOST_S)
        before_s = now_s
        found.append((at_s, thing))
    return found
