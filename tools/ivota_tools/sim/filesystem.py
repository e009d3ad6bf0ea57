"""A littlefs in memory, as it lies on a board's flash: mounted, read, changed."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from littlefs import LittleFS, LittleFSError
from littlefs.context import UserContext
from littlefs.lfs import LFSConfig

BLOCK = 4096
# What MicroPython's VfsLfs2 uses unless told otherwise.
GEOMETRY: dict[str, Any] = {
    "block_size": BLOCK,
    "read_size": 32,
    "prog_size": 32,
    "cache_size": 128,
    "lookahead_size": 32,
}
# How much is read at once is no part of the format: large reads are fast.
_FAST = {**GEOMETRY, "read_size": BLOCK, "prog_size": BLOCK, "cache_size": BLOCK}


class FlashError(RuntimeError):
    """The flash was used as flash cannot be, or cannot be read."""


class Memory(UserContext):
    """littlefs-python's context over a given image, without its logging of every operation."""

    def __init__(self, image: bytearray):
        super().__init__(buffsize=0)
        self.buffer = image

    def read(self, cfg: LFSConfig, block: int, off: int, size: int) -> bytearray:
        start = block * BLOCK + off
        return self.buffer[start : start + size]

    def prog(self, cfg: LFSConfig, block: int, off: int, data: bytes) -> int:
        start = block * BLOCK + off
        self.buffer[start : start + len(data)] = data
        return 0

    def erase(self, cfg: LFSConfig, block: int) -> int:
        self.buffer[block * BLOCK : (block + 1) * BLOCK] = b"\xff" * BLOCK
        return 0


def formatted(blocks: int, files: Mapping[str, bytes]) -> bytearray:
    """A fresh one with these files, path → bytes."""
    context = Memory(bytearray(b"\xff" * (blocks * BLOCK)))
    put(LittleFS(context=context, block_count=blocks, **GEOMETRY), files)
    return context.buffer


def mounted(context: Memory, blocks: int, name: str = "the flash") -> LittleFS:
    """The one in the first blocks, to be written as a board writes. Raises FlashError."""
    return _mounted(context, blocks, name, GEOMETRY)


def _mounted(context: Memory, blocks: int, name: str, geometry: dict[str, Any]) -> LittleFS:
    system = LittleFS(context=context, block_count=blocks, mount=False, **geometry)
    try:
        system.mount()
    except LittleFSError as error:
        raise FlashError(f"no littlefs on {name}: {error}") from error
    return system


@contextlib.contextmanager
def edited(image: bytes | bytearray, blocks: int) -> Iterator[tuple[LittleFS, bytearray]]:
    """The one in the first blocks, to be changed from outside, and all of the flash.

    Raises FlashError.
    """
    context = Memory(bytearray(image))
    yield mounted(context, blocks), context.buffer


def put(system: LittleFS, files: Mapping[str, bytes]) -> None:
    """Writes files, and makes the folders that they lie in."""
    for path, data in files.items():
        folder = path.rpartition("/")[0]
        if folder:
            system.makedirs(folder, exist_ok=True)
        with system.open(path, "wb") as file:
            file.write(data)


def tree(image: bytes | bytearray, blocks: int, name: str = "the flash") -> dict[str, bytes]:
    """Every file in the first blocks, path → bytes. Raises FlashError."""
    system = _mounted(Memory(bytearray(image)), blocks, name, _FAST)
    result = {}
    for folder, _, names in system.walk("/"):
        for each in names:
            path = f"{folder.rstrip('/')}/{each}"
            with system.open(path, "rb") as file:
                result[path] = file.read()
    return result


def read(image: bytes | bytearray, blocks: int, path: str, name: str = "the flash") -> bytes:
    """One of them. Raises FlashError, FileNotFoundError."""
    # Held: its files do not keep it alive.
    system = _mounted(Memory(bytearray(image)), blocks, name, _FAST)
    with system.open(path, "rb") as file:
        data: bytes = file.read()
    return data
