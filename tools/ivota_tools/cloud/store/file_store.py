"""Keep the contents of firmware, each under its SHA-256: in a folder, or in an object store."""

from __future__ import annotations

import contextlib
import os
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from ...common import atomic_write

LEFTOVER_S = 86400.0
_NAME = re.compile(r"([0-9a-f]{64})\.bin")


class StoreError(OSError):
    """The store cannot do something; the text says what and why."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.strerror = message


class Stored(NamedTuple):
    """A file of a store; `size` in bytes."""

    sha256: str
    size: int


class FileStore(ABC):
    """Files that never change, each under the SHA-256 of its contents.

    name     how messages call it
    scratch  a folder on this machine for files that are being received
    remote   whether the files are elsewhere, and fetching one takes time
    """

    name: str
    scratch: Path
    remote = False

    @abstractmethod
    def put(self, path: Path, sha256: str, md5: str) -> None:
        """Move a complete file of `scratch` into the store, all of it or nothing.

        The file is durable afterwards. Raises OSError.
        """

    @abstractmethod
    def local(self, sha256: str) -> contextlib.AbstractContextManager[Path]:
        """Return the path of a copy on this machine, which stays until the context ends.

        Raises FileNotFoundError if the store lacks the file, or OSError.
        """

    @abstractmethod
    def at_hand(self, sha256: str) -> Path | None:
        """Return the path of a copy if one is on this machine now, without any wait."""

    @abstractmethod
    def delete(self, sha256: str) -> None:
        """Delete a file; it may be missing. Raises OSError."""

    @abstractmethod
    def files(self) -> Iterator[Stored]:
        """Yield all files. Raises OSError."""

    @abstractmethod
    def note(self, name: str) -> str:
        """Return a short text that is kept beside the files, or "". Raises OSError."""

    @abstractmethod
    def keep_note(self, name: str, text: str) -> None:
        """Store a short text beside the files. Raises OSError."""

    def link(self, sha256: str, seconds: float) -> str | None:
        """Return a URL at the store that allows a download for a time, or None.

        Never waits, and never raises: without a URL, the cloud serves the file itself.
        """
        return None

    def problem(self) -> str | None:
        """Return why the store does not work, or None. Waits for at most a second."""
        return None

    def start(self) -> None:
        """Prepare for use. Raises CloudError if the store cannot work as it is configured."""
        self.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_leftovers(self.scratch, time.time())

    def tidy(self) -> None:
        """Delete what interrupted uploads have left, at most once in a while. Raises OSError."""
        return

    def stop(self) -> None:
        """Stop all threads; can be called repeatedly."""
        return


class FolderStore(FileStore):
    """A folder of this machine, or one that several servers share."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self.scratch = self._folder = folder

    def put(self, path: Path, sha256: str, md5: str) -> None:
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.replace(self._path(sha256))
        # The rename reaches the disk before a row that needs the file.
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def local(self, sha256: str) -> Iterator[Path]:
        path = self._path(sha256)
        path.stat()
        yield path

    def at_hand(self, sha256: str) -> Path | None:
        path = self._path(sha256)
        return path if path.is_file() else None

    def delete(self, sha256: str) -> None:
        self._path(sha256).unlink(missing_ok=True)

    def files(self) -> Iterator[Stored]:
        if not self._folder.is_dir():
            raise StoreError(f"the folder {self._folder} does not exist")
        for path in sorted(self._folder.glob("*.bin")):
            if match := _NAME.fullmatch(path.name):
                yield Stored(match[1], path.stat().st_size)

    def note(self, name: str) -> str:
        path = self._folder / name
        return path.read_text().strip() if path.exists() else ""

    def keep_note(self, name: str, text: str) -> None:
        # Several processes may write it at the same time, with the same contents.
        atomic_write.write(self._folder / name, text + "\n")

    def _path(self, sha256: str) -> Path:
        return self._folder / file_name(sha256)


def file_name(sha256: str) -> str:
    """Return the name of a file in any store. Untrusted names are never part of a path."""
    return f"{sha256}.bin"


def digest_in(name: str) -> str | None:
    """Return the SHA-256 in the name of a file, or None for any other name."""
    match = _NAME.fullmatch(name)
    return match[1] if match else None


def remove_leftovers(folder: Path, now: float) -> None:
    """Delete files of interrupted uploads; recent ones may belong to another process."""
    for pattern in ("upload-*.part", "fetch-*.part"):
        for path in folder.glob(pattern):
            with contextlib.suppress(FileNotFoundError):  # it has just ended
                if now - path.stat().st_mtime > LEFTOVER_S:
                    path.unlink()


Progress = Callable[[int], None]  # is told how many more bytes have been handled
