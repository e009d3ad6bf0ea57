"""Format counts and sizes for people."""

from __future__ import annotations


def size(count: float | None) -> str:
    """Format a number of bytes for people: 708 kB."""
    if count is None:
        return ""
    number = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            break
        number /= 1000
    if unit == "bytes":
        return f"{number:.0f} {'byte' if number == 1 else 'bytes'}"
    return f"{number:.0f} {unit}" if number >= 100 else f"{number:.1f} {unit}"


def number(count: float) -> str:
    return f"{count:,.0f}"
