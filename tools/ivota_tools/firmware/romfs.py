"""ROMFS images, MicroPython's own read-only file system: written and read on the host.

An image is one record, and so is all that it holds: a kind and a length, both as variable-length
integers of seven bits a byte (the most significant first), then the payload. MicroPython's
extmod/vfs_rom.c mounts an image and ignores the bytes behind it. docs/formats.md describes the
records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

MAGIC = b"\xd2\xcd\x31"
_PADDING, _VERBATIM, _DIRECTORY, _FILE = 1, 2, 4, 5
_LENGTH_MOST = 4  # bytes of a length that a board reads: files below 256 MiB
_DEEP = 8  # folders in each other


class RomfsError(ValueError):
    """The bytes are not a ROMFS image that a board can mount; says why."""


def build(contents: Mapping[str, bytes]) -> bytes:
    """The image of these files, path → content, in the given order.

    A folder is written where its first file comes. Raises ValueError for a path that is a file
    and a folder at once.
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
    # As MicroPython's own writer has it: an image is a whole number of 16-bit words.
    if (len(MAGIC) + len(length) + len(payload)) % 2:
        length = b"\x80" + length
    return MAGIC + length + payload


def files(image: bytes) -> Iterator[tuple[str, bytes]]:
    """Each file's path and content, in the order of the image. Raises RomfsError."""
    start, end = _bounds(image)
    yield from _files(image, start, end, "")


def size(image: bytes) -> int:
    """How many bytes the image has; what follows is not part of it. Raises RomfsError."""
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
    """Where the records in an image begin and end."""
    if not image.startswith(MAGIC):
        raise RomfsError("it does not start like a ROMFS image")
    length, start = _read_integer(image, len(MAGIC), len(image))
    if start + length > len(image):
        raise RomfsError("it ends early")
    return start, start + length


def _read_integer(image: bytes, at: int, end: int) -> tuple[int, int]:
    """The integer at `at`, and where it ends."""
    value = 0
    for place in range(at, min(end, at + _LENGTH_MOST + 1)):
        value = value << 7 | image[place] & 0x7F
        if image[place] < 0x80:
            return value, place + 1
    raise RomfsError(f"no length at byte {at}")


def _records(image: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The kind of each record between `at` and `end`, where its payload begins and ends."""
    while at < end:
        kind, start = _read_integer(image, at, end)
        length, start = _read_integer(image, start, end)
        at = start + length
        if at > end:
            raise RomfsError(f"the record at byte {start} is longer than its container")
        if kind != _PADDING:
            yield kind, start, at


def _files(image: bytes, at: int, end: int, folder: str) -> Iterator[tuple[str, bytes]]:
    if folder.count("/") > _DEEP:
        raise RomfsError(f"folders nested too deeply at byte {at}")
    for kind, start, stop in _records(image, at, end):
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
            yield from _files(image, start + length, stop, path + "/")
            continue
        inside = list(_records(image, start + length, stop))
        if len(inside) != 1 or inside[0][0] != _VERBATIM:
            raise RomfsError(f"{path} has no data")
        yield path, image[inside[0][1] : inside[0][2]]
