"""A flash in memory for the shim's mount table: fast, and it records changes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

BLOCK = 4096
_DIRECTORY, _FILE = 0x4000, 0x8000
_ENOENT, _EEXIST, _EISDIR, _ENOTDIR, _EINVAL = 2, 17, 21, 20, 22


class Ram:
    """`files` maps paths below `point` to contents; `changed` holds the full paths that were
    written, moved, created or removed. `error` is the world's OSError, `streams` a module of the
    shim.
    """

    def __init__(self, point: str, error: Any, streams: Any, blocks: int = 256) -> None:
        self.files: dict[str, bytes] = {}
        self.folders: set[str] = {"/"}
        self.changed: list[str] = []
        self.blocks = blocks
        self._point = point
        self._error = error
        self._streams = streams

    def reset(self) -> None:
        self.files.clear()
        self.folders = {"/"}
        self.changed.clear()

    def _note(self, *paths: str) -> None:
        self.changed += [self._point + path for path in paths]

    def mount(self, _readonly: bool, _mkfs: bool) -> None:
        pass

    def umount(self) -> None:
        pass

    def open(self, path: str, mode: str) -> Any:
        plain = mode.replace("b", "").replace("t", "")
        if path in self.folders:
            raise self._error(_EISDIR)
        if plain[0] == "r" and path not in self.files:
            raise self._error(_ENOENT)
        if plain != "r":
            if path.rpartition("/")[0] not in self.folders | {""}:
                raise self._error(_ENOENT)
            self._note(path)
        if plain[0] == "w":
            self.files[path] = b""
        raw = _Raw(self, path, plain != "r")
        if plain[0] == "a":
            raw.seek(0, 2)
        kind = self._streams.FileIO if "b" in mode else self._streams.TextIOWrapper
        return kind(raw)

    def stat(self, path: str) -> tuple[int, ...]:
        if path in self.folders:
            return (_DIRECTORY, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        if path not in self.files:
            raise self._error(_ENOENT)
        return (_FILE, 0, 0, 0, 0, 0, len(self.files[path]), 0, 77, 0)

    def ilistdir(self, path: str) -> Iterator[tuple[str, int, int]]:
        if path not in self.folders:
            raise self._error(_ENOENT)
        base = path.rstrip("/") + "/"
        found = {}
        for kind, names in ((_DIRECTORY, self.folders), (_FILE, self.files)):
            for name in names:
                if name.startswith(base) and name != base and "/" not in name[len(base) :]:
                    found[name[len(base) :]] = kind
        return iter([(name, kind, 0) for name, kind in sorted(found.items())])

    def statvfs(self, _path: str) -> tuple[int, ...]:
        used = sum(-(-len(data) // BLOCK) for data in self.files.values()) + len(self.folders)
        free = self.blocks - used
        return (BLOCK, BLOCK, self.blocks, free, free, 0, 0, 0, 0, 255)

    def remove(self, path: str) -> None:
        if path in self.folders:
            raise self._error(_EISDIR)
        if path not in self.files:
            raise self._error(_ENOENT)
        self._note(path)
        del self.files[path]

    def rename(self, old: str, new: str) -> None:
        if old not in self.files:
            raise self._error(_ENOENT)
        self._note(old, new)
        self.files[new] = self.files.pop(old)

    def mkdir(self, path: str) -> None:
        if path in self.folders or path in self.files:
            raise self._error(_EEXIST)
        self._note(path)
        self.folders.add(path)

    def rmdir(self, path: str) -> None:
        if path not in self.folders:
            raise self._error(_ENOTDIR)
        self._note(path)
        self.folders.remove(path)


class _Raw(io.BytesIO):
    def __init__(self, ram: Ram, path: str, writes: bool) -> None:
        super().__init__(ram.files.get(path, b""))
        self._ram, self._path, self._writes = ram, path, writes

    def fileno(self) -> int:
        """Provide the method that the shim's flush calls."""
        self._keep()
        return 3

    def close(self) -> None:
        if not self.closed:
            self._keep()
            super().close()

    def write(self, data: Any) -> int:
        if not self._writes:
            raise io.UnsupportedOperation
        return super().write(data)

    def _keep(self) -> None:
        if self._writes and not self.closed and self._path in self._ram.files:
            self._ram.files[self._path] = self.getvalue()
