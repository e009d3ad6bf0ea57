"""Read and write ROMFS images, MicroPython's read-only file system.

An image is a record that contains records. Each consists of a kind and a length, both as
variable-length integers of seven bits per byte (most significant first), and a payload.
MicroPython's extmod/vfs_rom.c mounts an image and ignores the bytes after it. docs/formats.md
describes the records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .board_limits import FILES

MAGIC = b"\xd2\xcd\x31"
_PADDING, _VERBATIM, _DIRECTORY, _FILE = 1, 2, 4, 5
_LENGTH_MOST = 4  # bytes of a length that a board reads: files below 256 MiB
_DEEP = 8  # maximum depth of nested folders
# Two records are a file. The smallest has two bytes: an image can have millions, which would take
# a minute to parse.
_RECORDS_MOST = 16 * FILES


class RomfsError(ValueError):
    """The bytes are not a ROMFS image that a board can mount."""


def build(contents: Mapping[str, bytes]) -> bytes:
    """Build an image of files (a map from paths to contents) in the given order.

    A folder is written at its first file. Raises ValueError for a path that is both a file and a
    folder.
    """
    tree: dict[str, object] = {}
    for path, data in contents.items():
        *folders, name = path.split("/")
        place = tree
        for folder in folders:
            inner = place.setdefault(folder, {})
            if not isinstance(inner, dict):
                raise ValueError(f"{path}: {folder} is a file")
            place = inner
        if name in place:
            raise ValueError(f"{path} occurs twice")
        place[name] = data
    payload = _folder(tree)
    length = _integer(len(payload))
    # Like MicroPython's own writer: an image is a whole number of 16-bit words.
    if (len(MAGIC) + len(length) + len(payload)) % 2:
        length = b"\x80" + length
    return MAGIC + length + payload


def files(image: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield each file's path and content, in the order of the image. Raises RomfsError."""
    start, end = _bounds(image)
    yield from _files(image, start, end, "", iter(range(_RECORDS_MOST)))


def size(image: bytes) -> int:
    """Return the size of the image, without the bytes after it. Raises RomfsError."""
    return _bounds(image)[1]


def _folder(tree: Mapping[str, object]) -> bytes:
    parts = []
    for name, inner in tree.items():
        encoded = name.encode()
        head = _integer(len(encoded)) + encoded
        if isinstance(inner, dict):
            parts.append(_record(_DIRECTORY, head + _folder(inner)))
        else:
            assert isinstance(inner, bytes)
            parts.append(_record(_FILE, head + _record(_VERBATIM, inner)))
    return b"".join(parts)


def _record(kind: int, payload: bytes) -> bytes:
    return _integer(kind) + _integer(len(payload)) + payload


def _integer(value: int) -> bytes:
    encoded = [value & 0x7F]
    while value := value >> 7:
        encoded.insert(0, 0x80 | value & 0x7F)
    return bytes(encoded)


def _bounds(image: bytes) -> tuple[int, int]:
    """Return where the records in an image start and end."""
    if not image.startswith(MAGIC):
        raise RomfsError("it does not start like a ROMFS image")
    length, start = _read_integer(image, len(MAGIC), len(image))
    if start + length > len(image):
        raise RomfsError("it ends early")
    return start, start + length


def _read_integer(image: bytes, at: int, end: int) -> tuple[int, int]:
    """Parse the integer at `at`; return it and its end."""
    value = 0
    for place in range(at, min(end, at + _LENGTH_MOST + 1)):
        value = value << 7 | image[place] & 0x7F
        if image[place] < 0x80:
            return value, place + 1
    raise RomfsError(f"no length at byte {at}")


def _records(
    image: bytes, at: int, end: int, numbers: Iterator[int]
) -> Iterator[tuple[int, int, int]]:
    """Yield the kind, payload start and payload end of each record between `at` and `end`.

    Each record takes one of the `numbers`. Raises RomfsError if none is left.
    """
    while at < end:
        if next(numbers, None) is None:
            raise RomfsError(f"it has more than {_RECORDS_MOST} records")
        kind, start = _read_integer(image, at, end)
        length, start = _read_integer(image, start, end)
        at = start + length
        if at > end:
            raise RomfsError(f"the record at byte {start} is longer than its container")
        if kind != _PADDING:
            yield kind, start, at


def _files(
    image: bytes, at: int, end: int, folder: str, numbers: Iterator[int]
) -> Iterator[tuple[str, bytes]]:
    if folder.count("/") > _DEEP:
        raise RomfsError(f"folders nested too deeply at byte {at}")
    for kind, start, stop in _records(image, at, end, numbers):
        if kind not in (_DIRECTORY, _FILE):
            raise RomfsError(f"unknown record kind {kind} at byte {start}")
        length, start = _read_integer(image, start, stop)
        name = image[start : start + length]
        if start + length > stop or not name or b"/" in name or b"\0" in name:
            raise RomfsError(f"no name at byte {start}")
        try:
            path = folder + name.decode()
        except UnicodeDecodeError:
            raise RomfsError(f"the name at byte {start} is not UTF-8") from None
        if kind == _DIRECTORY:
            yield from _files(image, start + length, stop, path + "/", numbers)
            continue
        inside = list(_records(image, start + length, stop, numbers))
        if len(inside) != 1 or inside[0][0] != _VERBATIM:
            raise RomfsError(f"{path} has no data")
        yield path, image[inside[0][1] : inside[0][2]]
