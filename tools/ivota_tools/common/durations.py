"""Spans of time as people write them: 30s, 10min, 2h, 1d."""

from __future__ import annotations

import re

_SPAN = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(s|min|h|d)")
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> float:
    """Raises ValueError with a sentence."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no time span: 30s, 10min, 2h or 1d")
    return float(match[1]) * _UNITS[match[2]]
