"""Keep copies of an object store's files on this machine, up to a total size."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from .file_store import digest_in, file_name

BYTES_MOST = 1 << 30


class FileCache:
    """Copies in `folder`, of which the least recently used are deleted above `most` bytes.

    A larger file stays while it is in use. Several processes can use the same folder.
    """

    def __init__(self, folder: Path, most: int = BYTES_MOST) -> None:
        self.folder = folder
        self._most = most
        self._lock = threading.Lock()
        self._fetching: dict[str, threading.Lock] = {}
        self._users: Counter[str] = Counter()

    @contextlib.contextmanager
    def using(self, sha256: str, fetch: Callable[[], Path]) -> Iterator[Path]:
        """Return the path of a copy, which stays until the context ends.

        `fetch` returns a complete and durable file in the folder; it is called once at a time
        for each file. Raises what it raises.
        """
        path = self.folder / file_name(sha256)
        with self._lock:
            self._users[sha256] += 1
            lock = self._fetching.setdefault(sha256, threading.Lock())
        try:
            with lock:
                if not self._touch(path):
                    fetch().replace(path)
                    self._make_room()
            yield path
        finally:
            with self._lock:
                self._users[sha256] -= 1
                if not self._users[sha256]:
                    del self._users[sha256], self._fetching[sha256]

    def take(self, path: Path, sha256: str) -> None:
        """Move a complete and durable file of the same file system into the cache."""
        path.replace(self.folder / file_name(sha256))
        self._make_room()

    def at_hand(self, sha256: str) -> Path | None:
        """Return the path of a copy if there is one now; it may be deleted at any time."""
        path = self.folder / file_name(sha256)
        return path if path.is_file() else None

    def drop(self, sha256: str) -> None:
        """Delete a copy, if there is one. Raises OSError."""
        (self.folder / file_name(sha256)).unlink(missing_ok=True)

    def _touch(self, path: Path) -> bool:
        """Note that a copy is in use now; return False if there is none."""
        try:
            os.utime(path)
        except FileNotFoundError:
            return False
        return True

    def _make_room(self) -> None:
        found = []
        for path in self.folder.glob("*.bin"):
            with contextlib.suppress(FileNotFoundError):  # another process deleted it
                known = path.stat()
                found.append((known.st_mtime, known.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._most:
                break
            with self._lock:
                if self._users[digest_in(path.name) or ""]:
                    continue
                path.unlink(missing_ok=True)
            total -= size
