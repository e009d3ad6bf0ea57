"""Access a file's bytes through a memory map, without copying them."""

from __future__ import annotations

import hashlib
import mmap
from pathlib import Path
from typing import NamedTuple

PIECE = 1 << 20  # bytes


class Digests(NamedTuple):
    """Return the digest in hexadecimal."""

    md5: str
    sha256: str


def mapped(path: Path) -> memoryview:
    """Map a file, which must not shrink meanwhile. Raises OSError."""
    with path.open("rb") as file:
        if not file.seek(0, 2):
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def digests(path: Path, size: int | None = None) -> Digests:
    """Hash a file, or its first `size` bytes, in pieces. Raises OSError."""
    md5, sha256 = hashlib.md5(), hashlib.sha256()
    with path.open("rb") as file:
        left = path.stat().st_size if size is None else size
        while left and (data := file.read(min(PIECE, left))):
            left -= len(data)
            md5.update(data)
            sha256.update(data)
    return Digests(md5.hexdigest(), sha256.hexdigest())
