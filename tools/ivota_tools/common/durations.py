"""Parse durations such as 30s, 10min, 2h and 1d."""

from __future__ import annotations

import re

_SPAN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(s|min|h|d)")
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> float:
    """Return a duration in seconds; raise ValueError for an invalid one."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a valid duration: use 30s, 10min, 2h or 1d")
    return float(match[1]) * _UNITS[match[2]]
