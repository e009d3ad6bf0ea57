"""Waits for what a test expects to happen, until it does and no longer; and looks at processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

# Only what is broken comes to it: a loaded machine may be ten times slower than an idle one.
WAIT_S = 120.0

# A test that waits for nothing takes a second or two; it hangs if it takes so long.
UNIT_S = 60.0
TEST_S = 600.0  # the most that any test may take: `timeout` in pyproject.toml

T = TypeVar("T")


def share() -> float:
    """How many processes want each core now, at least one."""
    return max(os.getloadavg()[0] / (os.cpu_count() or 1), 1.0)


def unit_s() -> float:
    """How long such a test may take now: longer where many processes share a core."""
    return min(UNIT_S * share(), TEST_S)


def wait_until(look: Callable[[], T], what: str = "it", timeout_s: float = WAIT_S) -> T:
    """What `look()` returns once that is true; AssertionError if it never is.

    It waits longer where many processes share a core, but ends before the whole test would.
    """
    timeout_s = max(timeout_s, min(timeout_s * share(), TEST_S / 2))
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
