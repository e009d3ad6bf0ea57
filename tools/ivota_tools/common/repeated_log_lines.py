"""Count repeated log lines instead of repeating them, and escape control characters in them."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from .plain_text import plain

MOST = 10  # different lines from one place in the code
PER_S = 60.0
KINDS_MOST = 1000


@dataclass
class _Kind:
    since: float
    passed: int = 0
    held: int = 0
    text: str = ""  # of the last line that passed
    last: logging.LogRecord | None = None  # the last line that was held


class Bounded(logging.Filter):
    """A filter for a log handler: limits the lines that come from one place in the code.

    A line like the previous one is counted. So are further lines after the first MOST within
    PER_S. The next line from the same place after that time says how many were counted; if there
    is none, `counted` does.

    `unlimited` names loggers whose lines all pass.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        unlimited: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self._clock, self._unlimited = clock, unlimited
        self._kinds: dict[object, _Kind] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = plain(record.getMessage(), lines=True), None
        if record.name in self._unlimited:
            return True
        now = self._clock()
        with self._lock:
            if len(self._kinds) > KINDS_MOST:
                self._kinds.clear()
            key = record.pathname, record.lineno
            kind = self._kinds.setdefault(key, _Kind(now))
            text, held = record.msg, 0
            if now - kind.since >= PER_S:
                held = kind.held
                self._kinds[key] = kind = _Kind(now)
            elif kind.passed >= MOST or text == kind.text:
                kind.held += 1
                kind.last = record
                return False
            kind.passed += 1
            kind.text = text
        if held:
            record.msg = f"{text} (and {held:,} more like this)"
        return True

    def counted(self, *, all_of_them: bool = False) -> list[logging.LogRecord]:
        """Return a summary line for each place in the code whose lines were counted for PER_S, or
        at all.
        """
        now, found = self._clock(), []
        with self._lock:
            for key, kind in self._kinds.items():
                if kind.last and (all_of_them or now - kind.since >= PER_S):
                    made = copy.copy(kind.last)
                    if kind.held > 1:
                        made.msg = f"{made.msg} (and {kind.held - 1:,} more like this)"
                    found.append(made)
                    # Further repeats are counted, and logged once a minute.
                    self._kinds[key] = _Kind(now, 1, text=str(kind.last.msg))
        return found
