"""Format Unix times for the terminal."""

from __future__ import annotations

import time


def ago(at: float | None) -> str:
    """Return the time since `at`, in the largest unit that fits."""
    if at is None:
        return "never"
    seconds = max(time.time() - at, 0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def date(at: float) -> str:
    """Return the local date and time, without the year."""
    return time.strftime("%m-%d %H:%M:%S", time.localtime(at))
