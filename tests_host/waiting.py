"""Waits for what a test expects to happen, until it does and no longer; and looks at processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

# Only what is broken comes to it: a loaded machine may be ten times slower than an idle one.
WAIT_S = 120.0

T = TypeVar("T")


def wait_until(look: Callable[[], T], what: str = "it", timeout_s: float = WAIT_S) -> T:
    """What `look()` returns once that is true; AssertionError if it never is."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not happen in {timeout_s:g} s"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether this process runs; one that has ended and waits for its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
