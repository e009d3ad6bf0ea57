"""Compute the copies, changes and inserts between two firmware files, with bsdiff's library."""

from __future__ import annotations

from collections.abc import Iterator

from bsdiff4 import core

from .format import CHANGES_MOST, GAP_MOST, PIECE, Record

_COPY_LEAST = 14  # bytes, minus the cost of changes in them


# Position in the base, copied bytes, resulting bytes, bytes inserted after them.
_Part = tuple[int, bytes, bytes, bytes]


def diff(base: bytes, result: bytes) -> Iterator[Record]:
    """Compute the records from `base` to `result` with bsdiff."""
    if not base:
        yield Record(0, 0, (), result)
        return
    control, _, extra = core.diff(base, result)
    at = made = extras = 0
    parts: list[_Part] = []
    for n in range(0, len(control), 24):
        copy, insert, then = (core.decode_int64(control[n + k : n + k + 8]) for k in (0, 8, 16))
        found, wanted = base[at : at + copy], result[made : made + copy]
        inserted = extra[extras : extras + insert]
        # Words are counted from a copy's start: if fewer words differ then, the copy's first
        # byte is inserted instead.
        if copy > 1 and made and _words(found[1:], wanted[1:]) + 1 < _words(found, wanted):
            parts.append((at, b"", b"", wanted[:1]))
            found, wanted = found[1:], wanted[1:]
        parts.append((at + copy - len(found), found, wanted, inserted))
        at += copy + then
        made += copy + insert
        extras += insert
    yield from _records(parts)


def _records(parts: list[_Part]) -> Iterator[Record]:
    """Merge parts into as few records as possible."""
    joined: list[_Part] = []
    for start, found, wanted, inserted in parts:
        # A separate record costs more than the bytes of a short copy.
        if joined and len(found) - 3 * _words(found, wanted) < _COPY_LEAST:
            inserted = joined[-1][3] + wanted + inserted
            start, found, wanted, _ = joined.pop()
        joined.append((start, found, wanted, inserted))
    behind = 0  # the last copy, in the base
    for start, found, wanted, inserted in joined:
        for size, changes in _pieces(found, wanted):
            last = size == len(found)
            found = found[size:]
            yield Record(start - behind, size, changes, inserted if last else b"")
            start = behind = start + size
        if not wanted:
            yield Record(start - behind, 0, (), inserted)
            behind = start


def _pieces(found: bytes, wanted: bytes) -> Iterator[tuple[int, tuple[tuple[int, int], ...]]]:
    """Split a part into consecutive copies, each with its changes."""
    same = at = 0  # unchanged bytes before `at`
    while at < len(found):
        size = min(PIECE, len(found) - at)
        changes = tuple(_changes(found[at : at + size], wanted[at : at + size]))
        if len(changes) > CHANGES_MOST:
            size = 2 * changes[CHANGES_MOST][0]
            changes = changes[:CHANGES_MOST]
        if changes and same:
            yield same, ()
            same = 0
        if changes:
            yield size, changes
        else:
            same += size
        at += size
    if same:
        yield same, ()


def _words(found: bytes, wanted: bytes) -> int:
    """Count the words of a copy that differ."""
    return sum(1 for _ in _changes(found, wanted))


def _changes(found: bytes, wanted: bytes) -> Iterator[tuple[int, int]]:
    """Return the words of a copy that differ, with their differences."""
    if found == wanted:
        return
    last = 0
    for at in range(0, len(found), 2):
        was, will = (int.from_bytes(side[at : at + 2], "little") for side in (found, wanted))
        if was != will:
            while at // 2 - last > GAP_MOST:
                last += GAP_MOST
                yield last, 0
            last = at // 2
            yield last, will - was & 0xFFFF
