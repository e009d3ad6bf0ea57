"""Read and write bundles: ROMFS images whose first file describes the bundle.

docs/formats.md describes the format. The same contents give the same bytes on every machine.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from . import romfs
from .board_limits import (
    FACTS_SIZE,
    FILE_SIZE,
    FILES,
    FOLDERS_DEEP,
    JSON_SIZE,
    MODULE_PATH,
    NAME_SIZE,
)

FORMAT = 2
FACTS = "ivota.json"
VERSION_MOST = 32  # characters, from the protocol
VERSION_PORTABLE = 20  # longer versions are not possible in file names on some platforms
# Exceptions that any ivota.json can cause.
_DAMAGES = (AttributeError, KeyError, TypeError, ValueError, RecursionError)
_SAID_MOST = 300  # maximum characters of an error, which may quote an untrusted file
APPLICATION_MOST = 128  # characters
UPDATER = "lib/ivota/"  # the files that a release adds to an application
# A version that a board can compare.
_UPDATER_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,2}")


class ReleaseError(ValueError):
    """The folder, the version or the file cannot be a release."""


@dataclass(frozen=True)
class BundleFile:
    """A file in a bundle; `size` in bytes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Bundle:
    """The description of a bundle; `size` of its image in bytes.

    `updater_min` is the oldest updater on a board that can start it, for a bundle without its own.
    """

    size: int
    application: str
    version: str
    files: tuple[BundleFile, ...]
    updater_min: str | None = None


def check_version(version: str) -> list[str]:
    """Return warnings about a version. Raises ReleaseError if the protocol forbids it."""
    if not 1 <= len(version) <= VERSION_MOST:
        raise ReleaseError(
            f"a version must have 1 to {VERSION_MOST} characters, "
            f"but {version!r} has {len(version)}"
        )
    if not version.isprintable() or version != version.strip():
        raise ReleaseError(
            f"the version {version!r} must not begin or end with a space "
            "or contain control characters"
        )
    if len(version) > VERSION_PORTABLE:
        return [
            f"the version {version!r} has {len(version)} characters; use at most "
            f"{VERSION_PORTABLE}, because some platforms limit file names"
        ]
    return []


def check_application(name: str) -> None:
    """Raise ReleaseError for an application name that the cloud would reject."""
    if not 1 <= len(name) <= APPLICATION_MOST or not name.isprintable():
        raise ReleaseError(
            f"an application's name must have 1 to {APPLICATION_MOST} printable characters"
        )


def check_updater_min(version: str) -> None:
    """Raise ReleaseError for a version of the updater that a board cannot compare."""
    if not _UPDATER_VERSION.fullmatch(version):
        raise ReleaseError(
            f"an updater's version must consist of numbers, such as 0.1.0, not {version!r}"
        )


def check_path(name: str) -> None:
    """Raise ReleaseError for a path that a board would reject.

    The same rule applies to packing and reading: on any system, no path leaves the bundle.
    """
    try:
        data = name.encode()
    except UnicodeEncodeError:
        raise ReleaseError(f"{name!r}: a path in a bundle must be UTF-8") from None
    if min(data, default=0) < 32 or "\\" in name:
        raise ReleaseError(
            f"{name!r}: a path in a bundle must not contain backslashes or control characters"
        )
    if not all(part.strip(".") for part in name.split("/")):
        raise ReleaseError(f"{name!r}: no part of a path may be empty, . or ..")
    parts = data.split(b"/")
    if max(map(len, parts)) > NAME_SIZE:
        raise ReleaseError(f"{name!r}: a name in a bundle must have at most {NAME_SIZE} bytes")
    if len(parts) > FOLDERS_DEEP + 1:
        raise ReleaseError(
            f"{name!r}: folders in a bundle can be nested at most {FOLDERS_DEEP} deep"
        )


def check_module(name: str) -> None:
    """Raise ReleaseError for a module that an ESP32 could not import."""
    if name.endswith((".py", ".mpy")) and len(name.encode()) > MODULE_PATH:
        raise ReleaseError(
            f"{name!r}: an ESP32 cannot import a module whose path in the bundle has more than "
            f"{MODULE_PATH} bytes"
        )


def check_contents(sizes: Mapping[str, int]) -> None:
    """Raise ReleaseError for files that a board would reject in a bundle."""
    folders = {name[:at] for name in sizes for at, sign in enumerate(name) if sign == "/"}
    count = len(sizes) + len(folders)
    if count > FILES:
        own = sum(1 for name in sizes if name.startswith(UPDATER))
        raise ReleaseError(
            f"a bundle can have at most {FILES} files and folders, but this one has {count} "
            f"({own} belong to the updater): exclude some with .ivotaignore, or merge files"
        )
    for name, size in sizes.items():
        if size > FILE_SIZE:
            raise ReleaseError(f"{name}: a file in a bundle must be smaller than 256 MiB")
    if sizes.get("config.json", 0) > JSON_SIZE:
        raise ReleaseError(f"config.json is too large: a board reads at most {JSON_SIZE:,} bytes")


def build(
    contents: dict[str, bytes], application: str, version: str, updater_min: str | None = None
) -> bytes:
    """Build a bundle from a map of paths to contents; `ivota.json` comes first.

    With `updater_min`, only boards with this or a newer version of the updater start it. Raises
    ReleaseError if a board would reject the bundle.
    """
    check_version(version)
    check_application(application)
    for name in contents:
        check_path(name)
        check_module(name)
    check_contents({name: len(data) for name, data in contents.items()})
    facts = {"format": FORMAT, "application": application, "version": version}
    if updater_min is not None:
        check_updater_min(updater_min)
        facts["updater_min"] = updater_min
    # No \u escapes: MicroPython does not join surrogate pairs.
    said = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    # Sort each folder by name, as boards require.
    paths = sorted(contents, key=lambda path: path.split("/"))
    return romfs.build({FACTS: said, **{path: contents[path] for path in paths}})


def read(data: bytes) -> Bundle:
    """Describe a bundle. Raises ReleaseError if a board would not mount or start it."""
    try:
        return _read(data)
    except _DAMAGES as error:
        raise ReleaseError(f"the bundle is damaged: {str(error)[:_SAID_MOST]}") from None


def _read(data: bytes) -> Bundle:
    found = romfs.files(data)
    name, said = next(found, ("", b""))
    if name != FACTS or len(said) > FACTS_SIZE:
        raise ValueError(f"it does not start with {FACTS}")
    facts = json.loads(said)
    if facts["format"] != FORMAT:
        raise ValueError(
            f"it has format {facts['format']!r}, but this version of ivota reads {FORMAT}"
        )
    application, version = facts["application"], facts["version"]
    if not isinstance(application, str) or not isinstance(version, str):
        raise ValueError("application and version must be strings")
    check_version(version)
    updater_min = facts.get("updater_min")
    if updater_min is not None:
        check_updater_min(updater_min)
    files = []
    last: list[str] = []
    for path, content in found:
        check_path(path)
        if path.split("/") <= last or path == FACTS:
            raise ValueError(f"{path} occurs twice or is out of order")
        last = path.split("/")
        files.append(BundleFile(path, len(content), hashlib.sha256(content).hexdigest()))
    check_contents({file.path: file.size for file in files})
    return Bundle(romfs.size(data), application, version, tuple(files), updater_min)
