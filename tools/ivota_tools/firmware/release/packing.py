"""An application folder, or a ready firmware file → a firmware file, signed or not."""

from __future__ import annotations

import hashlib
import io
import re
import tarfile
from dataclasses import replace
from pathlib import Path

from ...board.config import check_bundle_config
from ...board.errors import BoardError
from ...common import atomic_write
from ...common.project_files import LIBRARY
from .. import bundle
from ..bundle import FILE_LIST, ReleaseError, check_path, check_version
from ..mpy_compiler import compile_mpy
from ..signed_file import Signer, split
from .inspection import Release, inspect

SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")  # of a file, on any system
_COMPILE_PLACE = re.compile(r'File "[^"]*", line (\d+)')


def default_out(application: str, version: str) -> Path:
    """`<application>-<version>.bin`, here; raises ReleaseError where that is not a file name."""
    name = f"{application}-{version}.bin"
    if not SAFE_NAME.fullmatch(name):
        raise ReleaseError(f"{name!r} is not a good file name; choose one with --out")
    return Path(name)


def pack(
    folder: Path,
    version: str,
    *,
    out: Path,
    application: str | None = None,
    pad_to: int | None = None,
    mpy: bool = True,
    signer: Signer | None = None,
) -> Release:
    """Packs `folder` into the bundle `out`, signs it if asked to, and returns what it is.

    Adds `lib/ivota` and `lib/bundlefs` of this checkout unless the folder has its own. Hidden
    files and `__pycache__` stay out. `.py` is compiled to `.mpy` unless `mpy` is false. `pad_to`
    fills the file up behind the archive's end to exactly that many bytes, which do not compress.
    `application` defaults to the folder's name. Raises ReleaseError.
    """
    check_version(version)
    if not folder.is_dir():
        raise ReleaseError(f"{folder} is not a folder; name the one that holds app.py")
    sources = _collect(folder) | _library(folder)
    if "config.json" in sources:
        _check_config(sources["config.json"], folder)
    contents = _contents(sources, mpy)
    if "app.py" not in contents and "app.mpy" not in contents:
        raise ReleaseError(f"{folder} has no app.py; the board starts main() of that file")
    archive = bundle.build(contents, application or folder.resolve().name, version)
    if pad_to is not None:
        if signer:
            pad_to = signer.payload_size(pad_to, version, "bundle")
        if pad_to < len(archive):
            raise ReleaseError(
                f"the archive alone has {len(archive)} bytes: it cannot be padded to {pad_to}"
            )
        archive += hashlib.shake_256(b"ivota filler").digest(pad_to - len(archive))
    return written(out, signer.sign(archive, version, "bundle") if signer else archive)


def sign(
    source: Path, signer: Signer, *, out: Path, version: str | None = None, again: bool = False
) -> Release:
    """Signs the ready firmware file `source` into `out` and returns what that is.

    `version` is for what does not say it itself. `again`: what was signed before, under another
    sequence number or with another key; a signer without a target keeps the target that it had.
    Raises ReleaseError, OSError where `source` cannot be read.
    """
    made = inspect(source)
    if bool(made.signed) is not again:
        was = "is signed; --resign signs its payload again" if made.signed else "is not signed yet"
        raise ReleaseError(f"{source} {was}")
    if version and made.version and version != made.version:
        raise ReleaseError(f"{source} is version {made.version!r}, not {version!r}")
    version = version or made.version
    if not version:
        raise ReleaseError(f"{source} does not say its version: name it with --version")
    if made.signed and signer.target is None:
        signer = replace(signer, target=made.signed.target)
    payload = split(source.read_bytes())[0]
    if made.kind == "bundle":
        _check_packed_config(payload, source)
    return written(out, signer.sign(payload, version, made.kind))


def written(out: Path, data: bytes) -> Release:
    """Puts a firmware file there and returns what it is. Raises ReleaseError."""
    try:
        atomic_write.write(out, data)
    except OSError as error:
        raise ReleaseError(
            f"{out} cannot be written: {error.strerror}; choose another file with --out"
        ) from None
    return inspect(out)


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
        check_path(target)
        contents[target] = _compile(name, source) if target != name else source.read_bytes()
    return contents


def _check_config(source: Path, folder: Path) -> None:
    """What overrides the board's configuration, checked by the code that the board will have."""
    # A package of the folder's own may know other keys, and is not run here.
    library = None if (folder / "lib" / "ivota").is_dir() else LIBRARY.parent
    _refuse_config(source.read_bytes(), library, source)


def _check_packed_config(archive: bytes, source: Path) -> None:
    """The same of a ready bundle, which brings a package that may know other keys."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        for member in members:
            file = members.extractfile(member) if member.name == "config.json" else None
            if file:
                _refuse_config(file.read(), None, source)


def _refuse_config(data: bytes, library: Path | None, source: Path) -> None:
    try:
        check_bundle_config(data, library)
    except BoardError as error:
        raise ReleaseError(f"{error} (in {source})") from None


def _compile(name: str, source: Path) -> bytes:
    """The .mpy of one source; the name inside it is the bundle's, so that it is reproducible."""
    try:
        return compile_mpy(source.read_bytes(), name)
    except ValueError as error:
        said = str(error)
        place = _COMPILE_PLACE.findall(said)
        where = f"{name}:{place[-1]}" if place else name
        raise ReleaseError(f"{where}: {said.splitlines()[-1]} (in {source})") from None
