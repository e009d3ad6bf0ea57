"""Format Unix times for the terminal."""

from __future__ import annotations

import time


def date(at: float) -> str:
    """Return the local date and time, without the year."""
    return time.strftime("%m-%d %H:%M:%S", time.localtime(at))
