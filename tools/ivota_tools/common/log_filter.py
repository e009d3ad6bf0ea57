"""Limit the rate of repeated log lines, and escape control characters in them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from .plain_text import plain

MOST = 10  # lines from one place in the code
PER_S = 60.0
KINDS_MOST = 1000


@dataclass
class _Kind:
    since: float
    passed: int = 0
    held: int = 0


class Bounded(logging.Filter):
    """A filter for a log handler: limits the lines that come from one place in the code.

    The next line from the same place says how many lines were suppressed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[object, _Kind] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        with self._lock:
            if len(self._kinds) > KINDS_MOST:
                self._kinds.clear()
            key = record.pathname, record.lineno
            kind = self._kinds.setdefault(key, _Kind(now))
            held = 0
            if now - kind.since >= PER_S:
                held, kind.held = kind.held, 0
                kind.since, kind.passed = now, 0
            if kind.passed >= MOST:
                kind.held += 1
                return False
            kind.passed += 1
        message = plain(record.getMessage(), lines=True)
        record.msg = f"{message} (and {held:,} more like this)" if held else message
        record.args = None
        return True
