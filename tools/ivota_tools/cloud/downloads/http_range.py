"""Parse the Range header (RFC 9110, section 14), as far as firmware downloads use it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ONE_RANGE = re.compile(r"bytes\s*=\s*(?:([0-9]+)-([0-9]*)|-([0-9]+))\s*", re.IGNORECASE)
_DIGITS_MOST = 18  # longer numbers are past the end of any file; int() rejects thousands of digits


@dataclass(frozen=True)
class Slice:
    """`length` bytes from `start`; `partial` means a response with status 206."""

    start: int
    length: int
    partial: bool


def choose(header: str | None, size: int) -> Slice | None:
    """Return the part of a file of `size` bytes to send, or None if it is out of range (416).

    An end past the end of the file is clamped: clients request one byte too many. A header that is
    malformed or has several ranges is ignored, as the RFC allows.
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
