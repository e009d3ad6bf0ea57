"""Compare versions by their numbers, not as text ("0.10" is newer than "0.9")."""

from __future__ import annotations

import re

_PARTS = re.compile(r"[0-9]{1,18}|[a-z]+")

Key = list[tuple[int, int, str]]


def key(version: str) -> Key:
    """Return a sort key for a version: 1.0-rc1 < 1.0 < 1.0.1."""
    text = version.lower()
    text = text[1:] if re.match(r"v[0-9]", text) else text
    text = text.partition("+")[0]  # ignore build metadata
    parts: Key = [
        (1, int(part), "") if part.isdigit() else (-1, 0, part) for part in _PARTS.findall(text)
    ]
    while parts and parts[-1] == (1, 0, ""):  # 1.0 is 1
        parts.pop()
    return [*parts, (0, 0, "")]


def is_older(version: str, than: str) -> bool:
    return key(version) < key(than)
