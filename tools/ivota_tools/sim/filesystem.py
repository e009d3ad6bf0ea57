"""Create, read and change a littlefs image in memory."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from littlefs import LittleFS, LittleFSError
from littlefs.context import UserContext
from littlefs.lfs import LFSConfig

BLOCK = 4096
# MicroPython's VfsLfs2 defaults.
GEOMETRY: dict[str, Any] = {
    "block_size": BLOCK,
    "read_size": 32,
    "prog_size": 32,
    "cache_size": 128,
    "lookahead_size": 32,
}
# The read size is not part of the format: large reads are fast.
_FAST = {**GEOMETRY, "read_size": BLOCK, "prog_size": BLOCK, "cache_size": BLOCK}


class FlashError(RuntimeError):
    """The image is corrupt, or was used in a way that flash does not allow."""


class Memory(UserContext):
    """A littlefs-python context over an image, without logging of every operation."""

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
    """Create a file system with these files, a map from path to bytes."""
    context = Memory(bytearray(b"\xff" * (blocks * BLOCK)))
    put(LittleFS(context=context, block_count=blocks, **GEOMETRY), files)
    return context.buffer


def mounted(context: Memory, blocks: int, name: str = "the flash") -> LittleFS:
    """Open the file system in the first blocks, written as a board writes. Raises FlashError."""
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
    """Return the file system in the first blocks, for changes, and the whole flash.

    Raises FlashError.
    """
    context = Memory(bytearray(image))
    yield mounted(context, blocks), context.buffer


def put(system: LittleFS, files: Mapping[str, bytes]) -> None:
    """Write files, and create their folders."""
    for path, data in files.items():
        folder = path.rpartition("/")[0]
        if folder:
            system.makedirs(folder, exist_ok=True)
        with system.open(path, "wb") as file:
            file.write(data)


def tree(image: bytes | bytearray, blocks: int, name: str = "the flash") -> dict[str, bytes]:
    """Return every file in the first blocks, path → bytes. Raises FlashError."""
    system = _mounted(Memory(bytearray(image)), blocks, name, _FAST)
    result = {}
    for folder, _, names in system.walk("/"):
        for each in names:
            path = f"{folder.rstrip('/')}/{each}"
            with system.open(path, "rb") as file:
                result[path] = file.read()
    return result


def read(image: bytes | bytearray, blocks: int, path: str, name: str = "the flash") -> bytes:
    """Return one of the files. Raises FlashError, FileNotFoundError."""
    # A reference: its files do not keep it alive.
    system = _mounted(Memory(bytearray(image)), blocks, name, _FAST)
    with system.open(path, "rb") as file:
        data: bytes = file.read()
    return data
