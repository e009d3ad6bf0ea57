"""The states that were tried already: a table of digests that processes share."""

from __future__ import annotations

import mmap
import struct
from multiprocessing.synchronize import Lock
from pathlib import Path

from .processes import CONTEXT

_SLOTS = 1 << 20
_ENTRY = struct.Struct("<Q")


class Seen:
    """A set of 64-bit digests in a file; it can be passed to a new process."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_SLOTS * _ENTRY.size))
        self._open(path, CONTEXT.Lock())

    def _open(self, path: Path, lock: Lock) -> None:
        self._path = path
        self._lock = lock
        with path.open("r+b") as file:
            self._table = mmap.mmap(file.fileno(), 0)

    def __getstate__(self) -> tuple[Path, Lock]:
        return self._path, self._lock

    def __setstate__(self, state: tuple[Path, Lock]) -> None:
        self._open(*state)

    def add(self, digest: bytes) -> bool:
        """Add a digest; return whether it is new. Raises RuntimeError if the table is full."""
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
