"""The records of a delta: copies, changes and inserted bytes, in groups."""

import struct

from ..target import Bound, Mistake, Target

BASE = bytes((i * 7 + i // 251) & 0xFF for i in range(3000))
_PIECE, _RECORDS = 1024, 32

Record = tuple[int, int, tuple[tuple[int, int], ...], bytes]  # move, copy, changes, inserted


def _group(*records: Record) -> bytes:
    out = bytes([len(records)])
    out += b"".join(struct.pack("<H", record[1]) for record in records)
    out += b"".join(struct.pack("<H", len(record[3])) for record in records)
    out += b"".join(struct.pack("<i", record[0]) for record in records)
    out += bytes(len(record[2]) for record in records)
    for _, _, changes, inserted in records:
        out += bytes(gap for gap, _ in changes)
        out += b"".join(struct.pack("<H", added) for _, added in changes) + inserted
    return out


def _of(size: int, *groups: bytes) -> bytes:
    return struct.pack("<H", size - 1) + b"".join(groups)


def moved() -> bytes:
    """Return a stream that moves to another place in its base, to insert bytes there."""
    return _group((5, 0, (), b"inserted"))


def seeds() -> dict[str, bytes]:
    insert = (0, 0, (), b"inserted")
    copy = (100, 50, (), b"")
    changed = (0, 700, ((0, 1), (5, 0xFFFF), (200, 300)), b"xy")
    return {
        "good": _of(66, _group(insert, copy, insert)),
        "good-changes": _of(702, _group(changed)),
        "good-back": _of(100, _group(copy, (-100, 50, (), b""))),
        "good-long-copy": _of(2500, _group((0, 2500, (), b""))),
        "good-two-groups": _of(58, _group(insert), _group(copy)),
        "good-changes-of-all": _of(
            1024, _group((0, 1024, tuple((1, 1) for _ in range(255)), b""))
        ),
        "move-before": _of(50, _group((-1, 50, (), b""))),
        "move-behind": _of(50, _group((2**31 - 1, 50, (), b""))),
        "move-least": _of(50, _group((-(2**31), 50, (), b""))),
        "copy-behind": _of(4000, _group((2990, 50, (), b""))),
        "copy-of-nothing": _of(50, _group((0, 0, (), b""))),
        "nothing-for-ever": _of(50, *[_group(*[(0, 0, (), b"")] * 32)] * 8),
        "too-much": _of(3, _group(insert)),
        "too-little": _of(99, _group(insert)),
        "group-of-none": _of(9, b"\0"),
        "group-too-large": _of(9, b"\x21" + bytes(33 * 9)),
        "changes-behind": _of(2, _group((0, 2, tuple((255, 1) for _ in range(9)), b""))),
        "changes-in-an-insert": _of(8, _group((0, 0, ((0, 1),), b"inserted"))),
        "odd-copy": _of(3, _group((0, 3, ((1, 0xFFFF),), b""))),
        "cut": _of(66, _group(insert, copy, insert))[:-9],
        "more-behind": _of(8, _group(insert), b"more"),
        "nothing": b"",
    }


def reference(base: bytes, stream: bytes, left: int) -> bytes | None:
    """Apply a delta, written after docs/formats.md, slowly and simply."""
    out, at, place = b"", 0, 0

    def take(n: int) -> bytes:
        nonlocal place
        if place + n > len(stream):
            raise EOFError
        place += n
        return stream[place - n : place]

    try:
        while len(out) < left:
            n = take(1)[0]
            if not 0 < n <= _RECORDS:
                return None
            copies, inserts = (struct.unpack(f"<{n}H", take(2 * n)) for _ in range(2))
            moves, counts = struct.unpack(f"<{n}i", take(4 * n)), take(n)
            for copy, insert, move, count in zip(copies, inserts, moves, counts, strict=True):
                at += move
                if at < 0 or at + copy > len(base) or not copy + insert:
                    return None
                if len(out) + copy + insert > left:
                    return None
                piece = base[at : at + copy]
                at += copy
                if copy:
                    piece = _changed(piece, take(count), take(2 * count))
                out += piece + take(insert)
                if len(out) == left:
                    return out
    except (EOFError, IndexError):
        return None
    return out


def _changed(piece: bytes, gaps: bytes, sums: bytes) -> bytes:
    """Change the first 1,024 bytes; a change in range but past the copy has no effect."""
    words = list(struct.unpack("<512H", piece[:_PIECE].ljust(_PIECE, b"\0")))
    where = 0
    for gap, (added,) in zip(gaps, struct.iter_unpack("<H", sums), strict=True):
        where += gap
        words[where] = (words[where] + added) & 0xFFFF
    return struct.pack("<512H", *words)[: min(len(piece), _PIECE)] + piece[_PIECE:]


TARGET = Target(
    about="the records of a patch",
    code=("lib/ivota/delta_decoder.py",),
    seeds=seeds,
    reference=reference,
    most=2560,
    lines=Bound(60_000, 300),
    mistakes=(
        Mistake(
            "lets a copy run past the base", (("lib/ivota/delta_decoder.py", "at > size or ", ""),)
        ),
        Mistake(
            "accepts a position past the base",
            (("lib/ivota/delta_decoder.py", "if not 0 <= at <= size:", "if at < 0:"),),
        ),
        Mistake(
            "accepts more bytes than the result",
            (("lib/ivota/delta_decoder.py", " or left < 0 or", " or"),),
        ),
        Mistake(
            "accepts records without effect",
            (("lib/ivota/delta_decoder.py", " or not (copy or insert)", ""),),
        ),
    ),
)
