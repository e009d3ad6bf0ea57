"""The bundle's format: an uncompressed ustar archive whose first member lists the others.

docs/formats.md describes it. The same contents give the same bytes on every machine: names are
sorted, and times, owners and modes are constants.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from dataclasses import dataclass

FORMAT = 1
FILE_LIST = "ivota.json"
BLOCK = 512  # ustar's unit, bytes
VERSION_MOST = 32  # characters, from the protocol
VERSION_PORTABLE = 20  # beyond this some platforms cannot name the file on the board
_SAID_MOST = 300  # characters of an error, which may quote a stranger's file
PATH_MOST = 100  # bytes: ustar's name field; its prefix field is not used

_SAFE_PATH = re.compile(r"[A-Za-z0-9._+@ -]+(/[A-Za-z0-9._+@ -]+)*")


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


def check_path(name: str) -> None:
    """One rule for what is packed and what is read: no path leaves the bundle, on any system."""
    if not _SAFE_PATH.fullmatch(name) or {".", ".."} & set(name.split("/")):
        raise ReleaseError(f"{name!r}: a path in a bundle has letters, digits, blanks and ._+@-")
    if len(name) > PATH_MOST:
        raise ReleaseError(f"{name!r}: a path in a bundle has at most {PATH_MOST} characters")


def build(contents: dict[str, bytes], application: str, version: str) -> bytes:
    """The archive of these files, path → content; `ivota.json` comes first."""
    files = [
        {"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in sorted(contents.items())
    ]
    file_list = {"format": FORMAT, "application": application, "version": version, "files": files}
    listed = json.dumps(file_list, sort_keys=True, separators=(",", ":")).encode()
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
    except (KeyError, TypeError, ValueError, RecursionError, tarfile.TarError) as error:
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
