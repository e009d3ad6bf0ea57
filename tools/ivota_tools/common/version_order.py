"""Compare versions by their numbers, not as text ("0.10" is newer than "0.9")."""

from __future__ import annotations

import re

_PARTS = re.compile(r"[0-9]{1,18}|[a-z]+")

# What sorts a word, the end of a version and a number, in this order: 1.0-rc1 < 1.0 < 1.0.1.
_WORD, _END = "!", "."
_LENGTHS = "abcdefghijklmnopqr"  # of a number: of two, the one with more digits is larger


def key(version: str) -> str:
    """Return a sort key for a version: 1.0-rc1 < 1.0 < 1.0.1.

    It is ASCII text that sorts byte by byte, so that a database can compare versions, too.
    """
    text = version.lower()
    text = text[1:] if re.match(r"v[0-9]", text) else text
    text = text.partition("+")[0]  # ignore build metadata
    parts = _PARTS.findall(text)
    while parts and not parts[-1].strip("0"):  # 1.0 is 1
        parts.pop()
    return "".join(map(_part, parts)) + _END


def _part(part: str) -> str:
    if not part.isdigit():
        return f"{_WORD}{part} "
    digits = part.lstrip("0") or "0"
    return _LENGTHS[len(digits) - 1] + digits


def is_older(version: str, than: str) -> bool:
    return key(version) < key(than)
