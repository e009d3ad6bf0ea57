"""Read a patch: its header, its records, and its result for a base."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from itertools import accumulate

from .format import (
    FORMAT,
    GROUP,
    HEADER,
    KINDS,
    MAGIC,
    PIECE,
    WINDOWS,
    Patch,
    PatchError,
    Record,
    Summary,
)

_UNPACK = 65_536  # bytes per read
_SPARE = 1024  # bytes of a stream beyond twice its result; valid records never need as many


def read(data: bytes) -> Patch:
    """Parse the header of a patch. Raises PatchError."""
    if len(data) < HEADER.size or data[:8] != MAGIC:
        raise PatchError("the file is not a patch")
    fields = HEADER.unpack_from(data)
    version, kind, window, length, base_size, base_md5 = fields[1:7]
    result_size, result_sha256, result_md5 = fields[7:]
    if version != FORMAT:
        raise PatchError(
            f"the patch has format {version}, but this version of ivota reads {FORMAT}"
        )
    size = HEADER.size + length
    if kind >= len(KINDS) or window not in WINDOWS or not result_size or len(data) < size:
        raise PatchError("the patch header is damaged")
    try:
        base_version = data[HEADER.size : size].decode()
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
    """Return whether a firmware file starts with the patch's base."""
    found = base[: patch.base_size]
    digest = hashlib.md5(found).hexdigest()
    return len(found) == patch.base_size and digest == patch.base_md5


def apply(base: bytes, data: bytes) -> bytes:
    """Apply a patch to `base` as a board does; return the result. Raises PatchError."""
    patch = read(data)
    if not fits(patch, base):
        raise PatchError(f"wrong base: the patch is for version {patch.base_version}")
    result = bytearray()
    at = 0
    for record in records(data):
        at += record.move
        if at < 0 or at + record.copy > patch.base_size:
            raise PatchError("the patch reads outside its base")
        copied = bytearray(base[at : at + record.copy] + b"\0")
        at += record.copy
        for word, added in record.changes:
            value = int.from_bytes(copied[2 * word : 2 * word + 2], "little") + added & 0xFFFF
            copied[2 * word : 2 * word + 2] = value.to_bytes(2, "little")
        result += copied[: record.copy]
        result += record.inserted
    if hashlib.sha256(result).hexdigest() != patch.result_sha256:
        raise PatchError("the result does not match the patch's checksum")
    return bytes(result)


def summarize(data: bytes) -> Summary:
    """Read a patch to its end and summarize its records. Raises PatchError."""
    number = copied = changed = inserted = 0
    for record in records(data):
        number += 1
        copied += record.copy
        changed += sum(1 for _, added in record.changes if added)
        inserted += len(record.inserted)
    return Summary(number, copied, changed, inserted)


def records(data: bytes) -> Iterator[Record]:
    """Yield the records of a patch up to the size of its result, with little memory.

    A stream of more than twice the result is rejected: deflate can compress a thousandfold, and
    many tiny records would take long to read. Raises PatchError.
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
            raise PatchError("the patch unpacks to more data than its result needs")
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
            raise PatchError("a group of records in the patch is damaged")
        heads = struct.unpack(f"<{n}H{n}H{n}i{n}B", take(9 * n))
        columns = (heads[k * n : k * n + n] for k in range(4))
        for copy, insert, move, changed in zip(*columns, strict=True):
            made += copy + insert
            if made > patch.result_size or not copy + insert:
                raise PatchError("the patch writes outside its result")
            words = list(accumulate(take(changed)))
            if words and 2 * words[-1] >= min(copy, PIECE):
                raise PatchError("the patch changes bytes that it has not copied")
            sums = struct.unpack(f"<{changed}H", take(2 * changed))
            yield Record(move, copy, tuple(zip(words, sums, strict=True)), take(insert))
