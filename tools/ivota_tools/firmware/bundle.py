"""The bundle's format: an uncompressed ustar archive whose first member lists the others.

docs/formats.md describes it. The same contents give the same bytes on every machine: names are
sorted, and times, owners and modes are constants.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

from .board_limits import FILE_SIZE, FILES, JSON_SIZE

FORMAT = 1
FILE_LIST = "ivota.json"
BLOCK = 512  # ustar's unit, bytes
VERSION_MOST = 32  # characters, from the protocol
VERSION_PORTABLE = 20  # beyond this some platforms cannot name the file on the board
# What a file list of any shape can end in.
_DAMAGES = (AttributeError, KeyError, TypeError, ValueError, RecursionError)
_SAID_MOST = 300  # characters of an error, which may quote a stranger's file
APPLICATION_MOST = 128  # characters
NAME_MOST = 100  # bytes: ustar's name field
FOLDER_MOST = 155  # bytes: ustar's prefix field, for the folders of a path that is longer
UPDATER = ("lib/ivota/", "lib/bundlefs.")  # what a release adds to an application


class ReleaseError(ValueError):
    """The folder, the version or the file cannot be a release; says why."""


@dataclass(frozen=True)
class BundleFile:
    """One file in a bundle; `size` in bytes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Bundle:
    """What a bundle says of itself; `size` is where its archive ends, in bytes."""

    size: int
    application: str
    version: str
    files: tuple[BundleFile, ...]


def check_version(version: str) -> list[str]:
    """Warnings about a version's name; raises ReleaseError where the protocol forbids it."""
    if not 1 <= len(version) <= VERSION_MOST:
        raise ReleaseError(
            f"a version has 1 to {VERSION_MOST} characters, {version!r} has {len(version)}"
        )
    if not version.isprintable() or version != version.strip():
        raise ReleaseError(f"the version {version!r} has blanks at an end or control characters")
    if len(version) > VERSION_PORTABLE:
        return [
            f"the version {version!r} has {len(version)} characters; some platforms limit file "
            f"names, so {VERSION_PORTABLE} or fewer are safer"
        ]
    return []


def check_application(name: str) -> None:
    """Raises ReleaseError for a name that the cloud would not keep."""
    if not 1 <= len(name) <= APPLICATION_MOST or not name.isprintable():
        raise ReleaseError(
            f"an application's name has 1 to {APPLICATION_MOST} printable characters"
        )


def check_path(name: str) -> None:
    """Raises ReleaseError for a path that a board or the archive does not take.

    One rule for what is packed and what is read: no path leaves the bundle, on any system.
    """
    try:
        data = name.encode()
    except UnicodeEncodeError:
        raise ReleaseError(f"{name!r}: a path in a bundle is UTF-8") from None
    if min(data, default=0) < 32 or "\\" in name:
        raise ReleaseError(
            f"{name!r}: a path in a bundle has neither backslashes nor control characters"
        )
    if not all(part.strip(".") for part in name.split("/")):
        raise ReleaseError(f"{name!r}: each part of a path has more in it than dots")
    if len(data) > NAME_MOST and not any(
        at <= FOLDER_MOST and len(data) - at - 1 <= NAME_MOST
        for at, byte in enumerate(data)
        if byte == 0x2F
    ):
        raise ReleaseError(
            f"{name!r}: a file's name in a bundle has at most {NAME_MOST} bytes, the folders "
            f"above it at most {FOLDER_MOST}"
        )


def check_contents(sizes: Mapping[str, int]) -> None:
    """Raises ReleaseError for files, path → bytes, that a board does not take in one bundle."""
    if len(sizes) > FILES:
        own = sum(1 for name in sizes if name.startswith(UPDATER))
        raise ReleaseError(
            f"a bundle has at most {FILES} files, and this one has {len(sizes)}, {own} of them "
            "the updater's: leave some out with .ivotaignore, or join them"
        )
    for name, size in sizes.items():
        if size > FILE_SIZE:
            raise ReleaseError(f"{name}: a file in a bundle has less than 1 GiB")
    if sizes.get("config.json", 0) > JSON_SIZE:
        raise ReleaseError(f"config.json: a board reads at most {JSON_SIZE:,} bytes of it")


def build(contents: dict[str, bytes], application: str, version: str) -> bytes:
    """The archive of these files, path → content; `ivota.json` comes first.

    Raises ReleaseError for what a board would not take.
    """
    check_version(version)
    check_application(application)
    for name in contents:
        check_path(name)
    check_contents({name: len(data) for name, data in contents.items()})
    files = [
        {"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in sorted(contents.items())
    ]
    file_list = {"format": FORMAT, "application": application, "version": version, "files": files}
    # Not as \u…: of the two halves of a surrogate pair MicroPython makes two characters.
    text = json.dumps(file_list, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    listed = text.encode()
    parts = [_member(FILE_LIST, listed)]
    parts += [_member(name, data) for name, data in sorted(contents.items())]
    # Written by hand: tarfile would fill the end up to 10 KiB, which a board had to download.
    return b"".join(parts) + bytes(2 * BLOCK)


def _member(name: str, data: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o644
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % BLOCK)


def read(data: bytes) -> Bundle:
    """What a bundle is, each file checked against its list. Raises ReleaseError."""
    try:
        return _read(data)
    except (*_DAMAGES, tarfile.TarError) as error:
        raise ReleaseError(f"the bundle is damaged: {str(error)[:_SAID_MOST]}") from None


def _read(data: bytes) -> Bundle:
    offset, listed = _read_member(data, 0)
    file_list = json.loads(listed[1])
    if file_list["format"] != FORMAT:
        raise ValueError(f"format {file_list['format']!r}, this version of ivota reads {FORMAT}")
    application, version = file_list["application"], file_list["version"]
    if not isinstance(application, str) or not isinstance(version, str):
        raise ValueError("application and version must be strings")
    check_version(version)
    files = []
    for entry in file_list["files"]:
        check_path(entry["path"])
        offset, (name, content) = _read_member(data, offset)
        if name != entry["path"]:
            raise ValueError(f"{entry['path']} is listed where {name} stands")
        sha256 = hashlib.sha256(content).hexdigest()
        if len(content) != entry["size"] or sha256 != entry["sha256"]:
            raise ValueError(f"{name} is not what the file list says")
        files.append(BundleFile(name, len(content), sha256))
    check_contents({file.path: file.size for file in files})
    if data[offset : offset + 2 * BLOCK] != bytes(2 * BLOCK):
        raise ValueError("the archive does not end where its file list does")
    return Bundle(offset + 2 * BLOCK, application, version, tuple(files))


def _read_member(data: bytes, offset: int) -> tuple[int, tuple[str, bytes]]:
    header = data[offset : offset + BLOCK]
    info = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
    start, end = offset + BLOCK, offset + BLOCK + info.size
    if not info.isreg() or info.size < 0 or end > len(data):
        raise ValueError(f"{info.name!r} is cut off or not a plain file")
    return end + -info.size % BLOCK, (info.name, data[start:end])
