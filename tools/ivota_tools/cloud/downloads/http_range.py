"""The Range header (RFC 9110, section 14), as far as firmware downloads use it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ONE_RANGE = re.compile(r"bytes\s*=\s*(?:([0-9]+)-([0-9]*)|-([0-9]+))\s*", re.IGNORECASE)
_DIGITS_MOST = 18  # more are past the end of any file; int() refuses thousands of them


@dataclass(frozen=True)
class Slice:
    """`length` bytes from `start`; `partial` where that answers a range (206)."""

    start: int
    length: int
    partial: bool


def choose(header: str | None, size: int) -> Slice | None:
    """What to send of a file of `size` bytes; None where nothing of the range is there (416).

    An end past the file's is clamped: clients ask one past the end. A header that is malformed, or
    asks for several ranges, counts as absent, as the RFC allows.
    """
    match = _ONE_RANGE.fullmatch(header or "")
    if match is None:
        return Slice(0, size, False)
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(_number(suffix), size)
        return Slice(size - length, length, True) if length else None
    start = _number(first)
    end = min(_number(last), size - 1) if last else size - 1
    if last and _number(last) < start:
        return Slice(0, size, False)
    return Slice(start, end - start + 1, True) if start < size else None


def _number(digits: str) -> int:
    stripped = digits.lstrip("0") or "0"
    return int(stripped) if len(stripped) <= _DIGITS_MOST else 10**_DIGITS_MOST
