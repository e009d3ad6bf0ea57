"""Parse durations such as 30s, 10min, 2h and 1d, and format them."""

from __future__ import annotations

import re
import time

_SPAN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(s|min|h|d)")
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> float:
    """Return a duration in seconds; raise ValueError for an invalid one."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a valid duration: use 30s, 10min, 2h or 1d")
    return float(match[1]) * _UNITS[match[2]]


def short(seconds: int) -> str:
    """Return a duration as `seconds` parses it, in the largest unit that expresses it: 90min."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def span(seconds: float) -> str:
    """Return a duration in its two largest units: 3 h 20 min."""
    seconds = max(float(seconds), 0.0)
    if seconds < 10:
        return f"{seconds:.1f}".rstrip("0").rstrip(".") + " s"
    left = round(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if left >= length or parts:
            parts.append(f"{left // length} {unit}")
            left %= length
    return " ".join(part for part in parts[:2] if not part.startswith("0 "))


def ago(at: float | None, now: float | None = None) -> str:
    """Return how long ago a Unix time is, or how far ahead, in the largest unit that fits."""
    if at is None:
        return "never"
    seconds = (time.time() if now is None else now) - at
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if abs(seconds) >= length:
            words = f"{abs(seconds) // length:.0f} {unit}"
            return f"{words} ago" if seconds > 0 else f"in {words}"
    if seconds < -1:
        return f"in {-seconds:.0f} s"
    return "just now" if seconds < 5 else f"{seconds:.0f} s ago"
