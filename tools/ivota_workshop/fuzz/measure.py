"""Measure an input's cost: lines of the examined code, and CPython's peak heap in bytes."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from . import worlds
from .target import Target


@dataclass(frozen=True)
class Cost:
    """The most expensive input: `lines` and `memory` as measured, and their `share` of the limit
    for its length."""

    lines: int
    lines_share: float
    memory: int
    memory_share: float


def most(name: str, target: Target, inputs: Iterable[bytes]) -> Cost:
    """Return the maximum over all these inputs; exceptions of the check propagate."""
    check = worlds.check_of(name, target)
    lines = memory = (0.0, 0)
    for data in inputs:
        check(data)  # exclude the cost of loading modules for the first time
        counter = _Counter(target.code)
        tracemalloc.start()
        before = sys.gettrace()
        sys.settrace(counter.call)
        try:
            check(data)
        finally:
            sys.settrace(before)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        lines = max(lines, (counter.lines / target.lines.of(len(data)), counter.lines))
        memory = max(memory, (peak / target.memory.of(len(data)), peak))
    return Cost(lines[1], lines[0], memory[1], memory[0])


class _Counter:
    def __init__(self, code: Iterable[str]) -> None:
        self.lines = 0
        self._ends = tuple(f"/{file}" for file in code)

    def call(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        return self._line if frame.f_code.co_filename.endswith(self._ends) else None

    def _line(self, _frame: FrameType, event: str, _arg: Any) -> Any:
        self.lines += event == "line"
        return self._line
