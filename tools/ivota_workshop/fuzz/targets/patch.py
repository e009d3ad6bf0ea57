"""A patch's header and its compressed stream."""

import hashlib
import random
import struct
import zlib

from .. import mutate
from ..target import Bound, Mistake, Target
from . import delta
from .delta import BASE


def _header(result: int, base: int = len(BASE), name: bytes = b"0.1", **changed: int) -> bytes:
    values = {"format": 1, "kind": 0, "window": 10, "length": len(name), **changed}
    head = b"IVOTADLT" + bytes(values[key] for key in ("format", "kind", "window", "length"))
    head += struct.pack("<I", base) + hashlib.md5(BASE[:base]).digest()
    return head + struct.pack("<I", result) + bytes(48) + name


def _packed(stream: bytes, window: int = 10) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -window)
    return packer.compress(stream) + packer.flush()


def _patch(seed: bytes, **changed: int) -> bytes:
    size = int.from_bytes(seed[:2], "little") + 1
    return _header(size, len(BASE), b"0.1", **changed) + _packed(seed[2:])


def seeds() -> dict[str, bytes]:
    records = delta.seeds()
    good = _patch(records["good"])
    compressed = _header(8, 0, b"") + _packed(records["good-two-groups"][2:20])
    found = {
        "good": good,
        "good-changes": _patch(records["good-changes"]),
        "good-image": _patch(records["good"], kind=1),
        "good-window-9": _patch(records["good"], window=9),
        "good-compressed": compressed,
        "compressed-that-copies": _header(50, 0, b"") + _packed(records["good-back"][2:]),
        "compressed-that-moves": _header(8, 0, b"") + _packed(delta.moved()),
        "kind-2": _patch(records["good"], kind=2),
        "format-2": _patch(records["good"], format=2),
        "window-8": _patch(records["good"], window=8),
        "window-15": _patch(records["good"], window=15),
        "window-255": _patch(records["good"], window=255),
        "result-empty": _header(0) + _packed(b""),
        "result-huge": _header(0xFFFFFFFF) + _packed(records["good"][2:]),
        "base-huge": _header(66, 0xFFFFFFFF) + _packed(records["good"][2:]),
        "name-beyond": _header(66, length=255),
        "name-not-utf8": _header(66, name=b"\xff\xfe") + _packed(records["good"][2:]),
        "name-longest": _header(66, name=b"v" * 255) + _packed(records["good"][2:]),
        "magic": b"IVOTADLX" + good[8:],
        "header-cut": good[:80],
        "stream-none": _header(66),
        "stream-noise": _header(66) + bytes(range(256)),
        "stream-stored-beyond": _header(66) + b"\1\xff\xff\0\0x",
        "stream-block-type-3": _header(66) + b"\x07" + bytes(20),
        "stream-distance-too-far": _header(66) + b"\x4b\x04\x82\x01\x00" * 4,
        "stream-of-zeros": _header(4096) + _packed(bytes(60_000)),
        "cut": good[:-5],
        "nothing": b"",
    }
    return found


def change(data: bytes, chance: random.Random) -> bytes:
    """Change the records, and compress them again."""
    size = 84 + (data[11] if len(data) > 84 else 0)
    try:
        stream = zlib.decompressobj(-15).decompress(data[size:], 8192)
    except zlib.error:
        return data
    return data[:size] + _packed(mutate.any_bytes(stream, chance, 8192))


TARGET = Target(
    about="a patch: header and compressed stream",
    code=("lib/ivota/patch_header.py", "lib/ivota/delta_decoder.py"),
    seeds=seeds,
    mutate=change,
    most=1500,
    lines=Bound(60_000, 2_000),
    words=("IVOTADLT", "\\x01\\x00\\x0a"),
    mistakes=(
        Mistake(
            "accepts any window",
            (("lib/ivota/patch_header.py", " or window not in _WINDOWS", ""),),
        ),
        Mistake(
            "accepts a truncated name",
            (("lib/ivota/patch_header.py", "    if len(name) != length:\n", "    if False:\n"),),
        ),
    ),
)
