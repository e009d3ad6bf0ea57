"""Write a patch: its header and the records from bsdiff, compressed as well as possible."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator

from ..signed_file import MAGIC as SIGNED
from .diff import diff
from .format import (
    FORMAT,
    GROUP,
    HEADER,
    KINDS,
    MAGIC,
    RUN_MOST,
    SIZE_MOST,
    WINDOW,
    WINDOWS,
    PatchError,
    Record,
)


def make(
    base: bytes,
    result: bytes,
    *,
    base_version: str = "",
    kind: str = "bundle",
    window: int = WINDOW,
    progress: Callable[[float], object] = lambda share: None,
) -> bytes:
    """Create a patch from the payload `base` to the firmware file `result`.

    An empty `base` gives compressed firmware. `progress` receives the share done so far, 0 to 1.
    Raises PatchError.
    """
    if kind not in KINDS:
        raise PatchError(f"a patch must produce a bundle or an ESP32 image, not {kind!r}")
    if window not in WINDOWS:
        raise PatchError(f"a window must have 9 to 12 bits, not {window}")
    name = base_version.encode()
    if len(name) > 255:
        raise PatchError("the base's version has more than 255 bytes")
    if not 0 < len(result) <= SIZE_MOST or len(base) > SIZE_MOST:
        raise PatchError(
            "the result must have 1 to 4,294,967,295 bytes, and the base at most as many"
        )
    header = HEADER.pack(
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
    data = header + name + deflated(_encoded(found), window, progress)
    # The signature of a result stored at the stream's end must not look like the patch's own.
    return data + b"\0" if data.endswith(SIGNED) else data


def _encoded(records: Iterable[Record]) -> bytes:
    """Encode groups of records: the heads of a group by column, then the data of each."""
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
    """Split records whose sizes do not fit in 16 bits."""
    for record in records:
        move, copy, inserted = record.move, record.copy, record.inserted
        while copy > RUN_MOST:
            yield Record(move, RUN_MOST, (), b"")
            move, copy = 0, copy - RUN_MOST
        while len(inserted) > RUN_MOST:
            yield Record(move, copy, record.changes, inserted[:RUN_MOST])
            move, copy, inserted = 0, 0, inserted[RUN_MOST:]
        yield Record(move, copy, record.changes, inserted)


def deflated(
    stream: bytes, window: int, progress: Callable[[float], object] = lambda share: None
) -> bytes:
    """Compress with several memory levels of zlib, and return the smallest result."""
    found = []
    for memory in range(1, 10):
        packer = zlib.compressobj(9, zlib.DEFLATED, -window, memory)
        found.append(packer.compress(stream) + packer.flush())
        progress(0.6 + 0.4 * memory / 9)
    return min(found, key=len)
