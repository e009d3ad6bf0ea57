"""Which states were met already: a table of digests that processes share."""

from __future__ import annotations

import mmap
import multiprocessing
import struct
from pathlib import Path

_SLOTS = 1 << 20
_ENTRY = struct.Struct("<Q")


class Seen:
    """A set of 64-bit digests in a file; made before the processes that use it are forked."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_SLOTS * _ENTRY.size))
        with path.open("r+b") as file:
            self._table = mmap.mmap(file.fileno(), 0)
        self._lock = multiprocessing.get_context("fork").Lock()

    def add(self, digest: bytes) -> bool:
        """Whether it was not there yet. Raises RuntimeError when the table is full."""
        (key,) = _ENTRY.unpack(digest[: _ENTRY.size])
        key = key or 1
        with self._lock:
            for n in range(_SLOTS):
                at = (key + n) % _SLOTS * _ENTRY.size
                (found,) = _ENTRY.unpack_from(self._table, at)
                if found == key:
                    return False
                if not found:
                    _ENTRY.pack_into(self._table, at, key)
                    return True
        raise RuntimeError("more states than the table takes")
