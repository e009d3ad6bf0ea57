"""Build a firmware file from an application folder, or sign an existing one."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from ...board.config_check import check_bundle_config
from ...board.errors import BoardError
from ...common import atomic_write
from ...common.project_files import LIBRARY
from .. import bundle, esp32_image
from ..bundle import ReleaseError, check_version
from ..signed_file import Signer, split
from .compiled_files import as_on_a_board
from .inspection import Release, check_usable, inspect
from .source_folder import collect

SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")  # valid on any system


def default_out(application: str, version: str) -> Path:
    """Return `<application>-<version>.bin`. Raises ReleaseError if that is not a file name."""
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
    updater_min: str | None = None,
    signer: Signer | None = None,
    replace: bool = True,
    note: Callable[[str], object] = lambda sentence: None,
) -> Release:
    """Pack `folder` into the bundle `out`, sign it if there is a signer, and describe it.

    Adds this checkout's `lib/ivota` unless the folder has its own. With `updater_min`, the bundle
    has no updater and runs on that of the board, if it has this version or a newer one. Excludes
    the files in `.ivotaignore` and its defaults. Compiles `.py` to `.mpy` unless `mpy` is false,
    and native code only if `march` specifies the boards' architecture. `pad_to` pads the file to
    exactly that many bytes, with data that does not compress. `application` defaults to the
    folder's name. `replace` allows overwriting `out`. `note` receives warnings. Raises
    ReleaseError.
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
    for name in sources:
        _check_not_hidden(name, sources)
    if updater_min is None:
        sources |= _library(folder)
    elif any(path.startswith(bundle.UPDATER) for path in sources):
        raise ReleaseError(
            f"{folder} has an updater of its own in {bundle.UPDATER}: remove it to keep the "
            "board's updater"
        )
    contents = as_on_a_board(sources, mpy, march, note)
    if "config.json" in contents:
        _check_config(contents["config.json"], sources["config.json"], folder)
    if "app.py" not in contents and "app.mpy" not in contents:
        raise ReleaseError(f"{folder} has no app.py, which must define main()")
    name = application or folder.resolve().name
    archive = bundle.build(contents, name, version, updater_min)
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
    """Write the application in the whole-flash image `made` to `out`.

    `replace` allows overwriting `out`. Raises ReleaseError, or OSError if `made` cannot be read.
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
    """Sign the firmware file `source`, write it to `out` and describe it.

    `version` is needed for files that do not contain one. `again` re-signs a signed file with
    another sequence number or key, and keeps its target unless the signer has one. Raises
    ReleaseError, or OSError if `source` cannot be read.
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
    return written(out, signer.sign(payload, version, made.kind), replace)


def written(out: Path, data: bytes, replace: bool = True) -> Release:
    """Write a firmware file and describe it.

    `replace` allows overwriting a file that differs. Raises ReleaseError.
    """
    try:
        if not replace and out.exists() and out.read_bytes() != data:
            raise ReleaseError(
                f"{out} already exists with different contents. A version can be released only "
                "once: choose another --version or --out, or replace the file with --overwrite"
            )
        atomic_write.write(out, data)
    except OSError as error:
        raise ReleaseError(
            f"cannot write {out} ({error.strerror}): choose another file with --out"
        ) from None
    return inspect(out)


def _check_not_hidden(name: str, names: Iterable[str]) -> None:
    """Raise ReleaseError for a file by which a board would not find app.py or the updater."""
    first, is_folder, _ = name.partition("/")
    stem = first if is_folder else first.removesuffix(".py").removesuffix(".mpy")
    if is_folder and stem == "app" and {"app.py", "app.mpy"} & set(names):
        raise ReleaseError(
            "the folder app/ hides app.py, because MicroPython looks for folders "
            "first: rename the folder"
        )
    if stem in ("ivota", "bundlefs"):
        raise ReleaseError(f"{first} hides the updater's module of this name: rename it")


def _library(folder: Path) -> dict[str, Path]:
    """Find the updater's files for a folder without its own copy."""
    found: dict[str, Path] = {}
    if not (folder / "lib" / "ivota").is_dir():
        if not (LIBRARY / "ivota").is_dir():
            raise ReleaseError(
                f"{LIBRARY / 'ivota'} is missing: run ivota from a complete checkout"
            )
        modules = collect(LIBRARY / "ivota")[0]
        found |= {f"lib/ivota/{name}": path for name, path in modules.items()}
    return found


def _check_config(data: bytes, source: Path, folder: Path) -> None:
    """Check config.json with the code that the board will run."""
    # The folder's own package may accept other keys, and is not run here.
    library = None if (folder / "lib" / "ivota").is_dir() else LIBRARY.parent
    try:
        check_bundle_config(data, library)
    except BoardError as error:
        raise ReleaseError(f"{error} (in {source})") from None
