"""Patches: what a board makes a firmware of, out of one that it has (a delta) or of nothing.

docs/formats.md describes them byte by byte. Where they match is bsdiff's work: its library finds
it, and only the records that a board reads, and their compression, are made here.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from bsdiff4 import core

MAGIC = b"IVOTADLT"
FORMAT = 1
_SIGNED = b"IVOTASIG"  # how signed firmware ends
KINDS = ("bundle", "esp32-image")  # of results, in the order of their numbers
WINDOW = 10  # bits: a board unpacks in a heap that has little more than this window's 1 KiB
WINDOWS = range(9, 13)
SIZE_MOST = (1 << 32) - 1

_FIXED = struct.Struct("<8s4BI16sI32s16s")
PIECE = 1024  # bytes: a copy in which something changes has no more
GROUP = 32  # records, whose heads come together
_CHANGES = 255  # in a record
_COPY_LEAST = 14  # bytes, less what is told of changes in them
_GAP = 255  # words from one change to the next
_UNPACK = 65_536  # bytes at once
_SPARE = 1024  # bytes of a stream beyond twice its result: no record of ours takes as many
_MOST = 0xFFFF  # bytes that one record copies, or inserts


class PatchError(ValueError):
    """What is no patch, or can't become one, or does not fit its base; says why."""


@dataclass(frozen=True)
class Record:
    """One step: `move` in the base, `copy` bytes of it with `changes`, then `inserted` bytes.

    A change is (number of a 16-bit word in the copy, what is added to it, modulo 65,536).
    """

    move: int
    copy: int
    changes: tuple[tuple[int, int], ...]
    inserted: bytes


@dataclass(frozen=True)
class Patch:
    """What a patch says of itself. Sizes in bytes, `window` in bits, digests in hexadecimal.

    `base_size` is 0 for a compressed firmware; `header_size` is where its stream begins.
    """

    kind: str
    window: int
    base_version: str
    base_size: int
    base_md5: str
    result_size: int
    result_sha256: str
    result_md5: str
    header_size: int


@dataclass(frozen=True)
class Summary:
    """What a patch does to its base: bytes that are copied and inserted, words that change."""

    records: int
    copied: int
    changed: int
    inserted: int


def make(
    base: bytes,
    result: bytes,
    *,
    base_version: str = "",
    kind: str = "bundle",
    window: int = WINDOW,
    progress: Callable[[float], object] = lambda share: None,
) -> bytes:
    """The patch that makes the firmware file `result` of `base`, the payload of another.

    With an empty `base` it is the compressed firmware. `progress` is told the share that is done,
    0 to 1. Raises PatchError.
    """
    if kind not in KINDS:
        raise PatchError(f"a patch makes a bundle or an ESP32 image, not {kind!r}")
    if window not in WINDOWS:
        raise PatchError(f"a window has 9 to 12 bits, not {window}")
    name = base_version.encode()
    if len(name) > 255:
        raise PatchError("the base's version has more than 255 bytes")
    if not 0 < len(result) <= SIZE_MOST or len(base) > SIZE_MOST:
        raise PatchError("a result has 1 to 4,294,967,295 bytes, and a base no more")
    header = _FIXED.pack(
        MAGIC,
        FORMAT,
        KINDS.index(kind),
        window,
        len(name),
        len(base),
        hashlib.md5(base).digest(),
        len(result),
        hashlib.sha256(result).digest(),
        hashlib.md5(result).digest(),
    )
    made = 0
    found = []
    for record in diff(base, result):
        found.append(record)
        made += record.copy + len(record.inserted)
        progress(0.6 * made / len(result))
    data = header + name + _deflated(_encoded(found), window, progress)
    # A signed result, stored as it is at the stream's end, is not to look like the patch's own.
    return data + b"\0" if data.endswith(_SIGNED) else data


def read(data: bytes) -> Patch:
    """The header of a patch. Raises PatchError."""
    if len(data) < _FIXED.size or data[:8] != MAGIC:
        raise PatchError("it is not a patch")
    fields = _FIXED.unpack_from(data)
    version, kind, window, length, base_size, base_md5 = fields[1:7]
    result_size, result_sha256, result_md5 = fields[7:]
    if version != FORMAT:
        raise PatchError(f"a patch of format {version}, and this reads {FORMAT}")
    size = _FIXED.size + length
    if kind >= len(KINDS) or window not in WINDOWS or not result_size or len(data) < size:
        raise PatchError("the patch header is damaged")
    try:
        base_version = data[_FIXED.size : size].decode()
    except UnicodeDecodeError:
        raise PatchError("the patch header is damaged") from None
    return Patch(
        kind=KINDS[kind],
        window=window,
        base_version=base_version,
        base_size=base_size,
        base_md5=base_md5.hex(),
        result_size=result_size,
        result_sha256=result_sha256.hex(),
        result_md5=result_md5.hex(),
        header_size=size,
    )


def fits(patch: Patch, base: bytes) -> bool:
    """Whether a firmware file begins with what the patch is for."""
    found = base[: patch.base_size]
    digest = hashlib.md5(found).hexdigest()
    return len(found) == patch.base_size and digest == patch.base_md5


def apply(base: bytes, data: bytes) -> bytes:
    """The firmware file that a board makes of `base` by a patch. Raises PatchError."""
    patch = read(data)
    if not fits(patch, base):
        raise PatchError(f"wrong base: the patch is for version {patch.base_version}")
    result = bytearray()
    at = 0
    for record in records(data):
        at += record.move
        if at < 0 or at + record.copy > patch.base_size:
            raise PatchError("the patch leads outside of its base")
        copied = bytearray(base[at : at + record.copy] + b"\0")
        at += record.copy
        for word, added in record.changes:
            value = int.from_bytes(copied[2 * word : 2 * word + 2], "little") + added & 0xFFFF
            copied[2 * word : 2 * word + 2] = value.to_bytes(2, "little")
        result += copied[: record.copy]
        result += record.inserted
    if hashlib.sha256(result).hexdigest() != patch.result_sha256:
        raise PatchError("the result is not what the patch promises")
    return bytes(result)


def summarize(data: bytes) -> Summary:
    """What a patch does, read to its end. Raises PatchError."""
    number = copied = changed = inserted = 0
    for record in records(data):
        number += 1
        copied += record.copy
        changed += sum(1 for _, added in record.changes if added)
        inserted += len(record.inserted)
    return Summary(number, copied, changed, inserted)


def records(data: bytes) -> Iterator[Record]:
    """The records of a patch, as far as its result goes; never much of it unpacked at once.

    A stream of more than twice its result is refused: deflate could have packed a thousandfold,
    and records that make a byte each would keep whoever reads them busy. Raises PatchError.
    """
    patch = read(data)
    left = 2 * patch.result_size + _SPARE
    unpacker = zlib.decompressobj(-patch.window)
    packed, ready = data[patch.header_size :], bytearray()
    made = 0

    def take(n: int) -> bytes:
        nonlocal packed, left
        left -= n
        if left < 0:
            raise PatchError("the patch unpacks to more than its result needs")
        while len(ready) < n:
            try:
                ready.extend(unpacker.decompress(packed, _UNPACK))
            except zlib.error as error:
                raise PatchError(f"the patch's stream is damaged: {error}") from None
            packed = unpacker.unconsumed_tail
            if len(ready) < n and (unpacker.eof or not packed):
                raise PatchError("the patch ends early")
        found = bytes(ready[:n])
        del ready[:n]
        return found

    while made < patch.result_size:
        n = take(1)[0]
        if not 0 < n <= GROUP:
            raise PatchError("a group of records is damaged")
        heads = struct.unpack(f"<{n}H{n}H{n}i{n}B", take(9 * n))
        columns = (heads[k * n : k * n + n] for k in range(4))
        for copy, insert, move, changed in zip(*columns, strict=True):
            made += copy + insert
            if made > patch.result_size or not copy + insert:
                raise PatchError("the patch leads outside of its result")
            words = list(accumulate(take(changed)))
            if words and 2 * words[-1] >= min(copy, PIECE):
                raise PatchError("the patch changes what it has not copied")
            sums = struct.unpack(f"<{changed}H", take(2 * changed))
            yield Record(move, copy, tuple(zip(words, sums, strict=True)), take(insert))


def diff(base: bytes, result: bytes) -> Iterator[Record]:
    """What makes `result` of `base`, as bsdiff finds it."""
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
        # Words are counted from a copy's start: where that makes fewer of them differ, its first
        # byte is inserted instead.
        if copy > 1 and made and _words(found[1:], wanted[1:]) + 1 < _words(found, wanted):
            parts.append((at, b"", b"", wanted[:1]))
            found, wanted = found[1:], wanted[1:]
        parts.append((at + copy - len(found), found, wanted, inserted))
        at += copy + then
        made += copy + insert
        extras += insert
    yield from _records(parts)


# Where in the base, what is copied there, what it becomes, what is inserted behind it.
_Part = tuple[int, bytes, bytes, bytes]


def _records(parts: list[_Part]) -> Iterator[Record]:
    """Parts that insert after a copy, in as few records as can be."""
    joined: list[_Part] = []
    for start, found, wanted, inserted in parts:
        # A record of its own takes more than the bytes of a short copy do.
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
    """Copies, each with its changes, that follow each other in the base."""
    same = at = 0  # bytes that are copied as they are, in front of `at`
    while at < len(found):
        size = min(PIECE, len(found) - at)
        changes = tuple(_changes(found[at : at + size], wanted[at : at + size]))
        if len(changes) > _CHANGES:
            size = 2 * changes[_CHANGES][0]
            changes = changes[:_CHANGES]
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
    """How many words of a copy differ."""
    return sum(1 for _ in _changes(found, wanted))


def _changes(found: bytes, wanted: bytes) -> Iterator[tuple[int, int]]:
    """The words of a copy that differ, and by how much."""
    if found == wanted:
        return
    last = 0
    for at in range(0, len(found), 2):
        was, will = (int.from_bytes(side[at : at + 2], "little") for side in (found, wanted))
        if was != will:
            while at // 2 - last > _GAP:
                last += _GAP
                yield last, 0
            last = at // 2
            yield last, will - was & 0xFFFF


def _encoded(records: Iterable[Record]) -> bytes:
    """Groups of records: the heads of a group, column by column, then what belongs to each."""
    out = bytearray()
    short = list(_shortened(records))
    for start in range(0, len(short), GROUP):
        group = short[start : start + GROUP]
        n = len(group)
        out.append(n)
        out += struct.pack(f"<{n}H", *(record.copy for record in group))
        out += struct.pack(f"<{n}H", *(len(record.inserted) for record in group))
        out += struct.pack(f"<{n}i", *(record.move for record in group))
        out += bytes(len(record.changes) for record in group)
        for record in group:
            words = [word for word, _ in record.changes]
            out += bytes(word - before for word, before in zip(words, [0, *words], strict=False))
            out += struct.pack(f"<{len(words)}H", *(added for _, added in record.changes))
            out += record.inserted
    return bytes(out)


def _shortened(records: Iterable[Record]) -> Iterator[Record]:
    """None that copies or inserts more than 16 bits can say."""
    for record in records:
        move, copy, inserted = record.move, record.copy, record.inserted
        while copy > _MOST:
            yield Record(move, _MOST, (), b"")
            move, copy = 0, copy - _MOST
        while len(inserted) > _MOST:
            yield Record(move, copy, record.changes, inserted[:_MOST])
            move, copy, inserted = 0, 0, inserted[_MOST:]
        yield Record(move, copy, record.changes, inserted)


def _deflated(
    stream: bytes, window: int, progress: Callable[[float], object] = lambda share: None
) -> bytes:
    """The smallest that zlib makes of it: how often it begins a new code depends on its memory."""
    found = []
    for memory in range(1, 10):
        packer = zlib.compressobj(9, zlib.DEFLATED, -window, memory)
        found.append(packer.compress(stream) + packer.flush())
        progress(0.6 + 0.4 * memory / 9)
    return min(found, key=len)
