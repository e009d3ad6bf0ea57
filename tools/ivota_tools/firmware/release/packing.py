"""An application folder, or a ready firmware file → a firmware file, signed or not."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from ...board.config import check_bundle_config
from ...board.errors import BoardError
from ...common import atomic_write
from ...common.project_files import LIBRARY
from .. import bundle, esp32_image, romfs
from ..bundle import ReleaseError, check_version
from ..signed_file import Signer, split
from .compiled_files import as_on_a_board
from .inspection import Release, check_usable, inspect
from .source_folder import collect

SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")  # of a file, on any system


def default_out(application: str, version: str) -> Path:
    """`<application>-<version>.bin`, here; raises ReleaseError where that is not a file name."""
    name = f"{application}-{version}.bin"
    if not SAFE_NAME.fullmatch(name):
        raise ReleaseError(f"{name!r} is not a valid file name: choose one with --out")
    return Path(name)


def pack(
    folder: Path,
    version: str,
    *,
    out: Path,
    application: str | None = None,
    pad_to: int | None = None,
    mpy: bool = True,
    march: str | None = None,
    signer: Signer | None = None,
    replace: bool = True,
    note: Callable[[str], object] = lambda sentence: None,
) -> Release:
    """Packs `folder` into the bundle `out`, signs it if asked to, and returns what it is.

    Adds `lib/ivota` and `lib/bundlefs` of this checkout unless the folder has its own. What
    `.ivotaignore` and its defaults name stays out. `.py` is compiled to `.mpy` unless `mpy` is
    false; a file with native code only if `march` names the boards' architecture. `pad_to` fills
    the file up behind the image's end to exactly that many bytes, which do not compress.
    `application` defaults to the folder's name. `replace`: also an `out` with other bytes. `note`
    is told what else the caller should know. Raises ReleaseError.
    """
    check_version(version)
    if not folder.is_dir():
        raise ReleaseError(f"{folder} is not a folder: specify the folder that contains app.py")
    sources, left_out = collect(folder)
    if left_out:
        note(
            f"excluded: {', '.join(left_out)}; to include a file, add a line such as "
            f"!{left_out[0]} to .ivotaignore"
        )
    contents = as_on_a_board(sources | _library(folder), mpy, march, note)
    if "config.json" in contents:
        _check_config(contents["config.json"], sources["config.json"], folder)
    if "app.py" not in contents and "app.mpy" not in contents:
        raise ReleaseError(f"{folder} has no app.py: the board starts main() in that file")
    archive = bundle.build(contents, application or folder.resolve().name, version)
    if pad_to is not None:
        if signer:
            pad_to = signer.payload_size(pad_to, version, "bundle")
        if pad_to < len(archive):
            raise ReleaseError(
                f"cannot pad the file to {pad_to} bytes: the archive alone has {len(archive)}"
            )
        archive += hashlib.shake_256(b"ivota filler").digest(pad_to - len(archive))
    data = signer.sign(archive, version, "bundle") if signer else archive
    return written(out, data, replace)


def cut_application(made: Release, *, out: Path, replace: bool = True) -> Release:
    """Writes the application in the image of a whole flash `made` into `out`.

    `replace`: also an `out` with other bytes. Raises ReleaseError, OSError where `made` cannot be
    read.
    """
    data = made.path.read_bytes()
    found = esp32_image.application_in(data)
    if not found:
        raise ReleaseError(f"{made.path} contains no application")
    start, image = found
    return written(out, data[start : start + image.size], replace)


def sign(
    source: Path,
    signer: Signer,
    *,
    out: Path,
    version: str | None = None,
    again: bool = False,
    replace: bool = True,
) -> Release:
    """Signs the ready firmware file `source` into `out` and returns what that is.

    `version` is for what does not say it itself. `again`: what was signed before, under another
    sequence number or with another key; a signer without a target keeps the target that it had.
    Raises ReleaseError, OSError where `source` cannot be read.
    """
    made = inspect(source)
    check_usable(made)
    if bool(made.signed) is not again:
        was = (
            "is already signed: use --resign to sign it again"
            if made.signed
            else "is not signed yet"
        )
        raise ReleaseError(f"{source} {was}")
    if version and made.version and version != made.version:
        raise ReleaseError(f"{source} is version {made.version!r}, not {version!r}")
    version = version or made.version
    if not version:
        raise ReleaseError(f"{source} does not contain its version: add --version")
    if made.signed and signer.target is None:
        signer = dataclasses.replace(signer, target=made.signed.target)
    payload = split(source.read_bytes())[0]
    if made.kind == "bundle":
        _check_packed_config(payload, source)
    return written(out, signer.sign(payload, version, made.kind), replace)


def written(out: Path, data: bytes, replace: bool = True) -> Release:
    """Puts a firmware file there and returns what it is.

    `replace`: also where other bytes are. Raises ReleaseError.
    """
    try:
        if not replace and out.exists() and out.read_bytes() != data:
            raise ReleaseError(
                f"{out} already exists with other contents, and a version can be released only "
                "once. Choose another --version or --out, or replace the file with --overwrite"
            )
        atomic_write.write(out, data)
    except OSError as error:
        raise ReleaseError(
            f"cannot write {out} ({error.strerror}): choose another file with --out"
        ) from None
    return inspect(out)


def _library(folder: Path) -> dict[str, Path]:
    """The updater's own files, for a folder that does not bring them."""
    found: dict[str, Path] = {}
    if not (folder / "lib" / "ivota").is_dir():
        if not (LIBRARY / "ivota").is_dir():
            raise ReleaseError(f"{LIBRARY / 'ivota'} is missing: run from a complete checkout")
        modules = collect(LIBRARY / "ivota")[0]
        found |= {f"lib/ivota/{name}": path for name, path in modules.items()}
    if not any((folder / "lib" / f"bundlefs{suffix}").exists() for suffix in (".py", ".mpy")):
        if not (LIBRARY / "bundlefs.py").is_file():
            raise ReleaseError(
                f"{LIBRARY / 'bundlefs.py'} is missing: run from a complete checkout"
            )
        found["lib/bundlefs.py"] = LIBRARY / "bundlefs.py"
    return found


def _check_config(data: bytes, source: Path, folder: Path) -> None:
    """What overrides the board's configuration, checked by the code that the board will have."""
    # A package of the folder's own may know other keys, and is not run here.
    library = None if (folder / "lib" / "ivota").is_dir() else LIBRARY.parent
    _refuse_config(data, library, source)


def _check_packed_config(archive: bytes, source: Path) -> None:
    """The same of a ready bundle, which brings a package that may know other keys."""
    for name, data in romfs.files(archive):
        if name == "config.json":
            _refuse_config(data, None, source)


def _refuse_config(data: bytes, library: Path | None, source: Path) -> None:
    try:
        check_bundle_config(data, library)
    except BoardError as error:
        raise ReleaseError(f"{error} (in {source})") from None
