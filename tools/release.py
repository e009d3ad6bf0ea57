"""An application folder → a firmware file (a bundle), signed or not; what a firmware file is."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from . import bundle, patch, tree
from .bundle import FILE_LIST, BundleFile, ReleaseError, check_path, check_version
from .mpy import compile_mpy
from .names import Names, of_package
from .patch import Patch, PatchError, Summary
from .signing import SignedHeader, Signer, fits, split

__all__ = [
    "BundleFile",
    "Release",
    "ReleaseError",
    "Signer",
    "check_version",
    "apply_patch",
    "default_out",
    "inspect",
    "find_base",
    "kind_of",
    "make_patch",
    "pack",
    "patch_out",
    "sign",
]

LIBRARY = tree.root() / "lib"

_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
_COMPILE_PLACE = re.compile(r'File "[^"]*", line (\d+)')


@dataclass(frozen=True)
class Release:
    """What a firmware file is. Sizes in bytes; `application` and `files` of bundles only.

    `version` is a bundle's, or what was signed; `patch` and `does` are of patches, which make
    another firmware. `archive_size` is where the archive ends and
    filler begins; digests are of the whole file. `signed` is what the file says, by whomever.
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
    signed: SignedHeader | None = None
    patch: Patch | None = None
    does: Summary | None = None


def default_out(application: str, version: str) -> Path:
    """`<application>-<version>.bin`, here; raises ReleaseError where that is not a file name."""
    name = f"{application}-{version}.bin"
    if not _SAFE_NAME.fullmatch(name):
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
    _write(out, signer.sign(archive, version, "bundle") if signer else archive)
    return inspect(out)


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
    _write(out, signer.sign(split(source.read_bytes())[0], version, made.kind))
    return inspect(out)


def kind_of(head: bytes) -> str:
    """ "bundle", "esp32-image", "patch" or "other", by a firmware's first 512 bytes (or more)."""
    if head[257:262] == b"ustar" and head[:100].rstrip(b"\0") == FILE_LIST.encode():
        return "bundle"
    if head[:1] == b"\xe9":
        return "esp32-image"
    if head[:8] == patch.MAGIC:
        return "patch"
    return "other"


def inspect(path: Path) -> Release:
    """Reads a firmware file; a bundle's file list is checked against its files.

    Whose signature it is, is not asked: `signing.verify` does. Raises ReleaseError where a bundle
    or a signed firmware is damaged, OSError where the file cannot be read.
    """
    data = path.read_bytes()
    payload, trailer = split(data)
    signed = trailer.header if trailer else None
    kind = kind_of(payload)
    archive_size, application, version = None, None, None
    files: tuple[BundleFile, ...] = ()
    found, does = None, None
    if kind == "bundle":
        archive_size, application, version, files = bundle.read(payload)
    elif kind == "patch":
        try:
            found, does = patch.read(payload), patch.summarize(payload)
        except PatchError as error:
            raise ReleaseError(str(error)) from None
    if trailer and signed:
        if not fits(payload, trailer) or signed.kind != kind:
            raise ReleaseError("the payload is not the one that was signed")
        if version not in (None, signed.version):
            raise ReleaseError(f"a bundle {version!r} is signed as {signed.version!r}")
        version = signed.version
    return Release(
        path=path,
        kind=kind,
        size=len(data),
        payload_size=len(payload),
        archive_size=archive_size,
        md5=hashlib.md5(data).hexdigest(),
        sha256=hashlib.sha256(data).hexdigest(),
        application=application,
        version=version,
        files=files,
        signed=signed,
        patch=found,
        does=does,
    )


def make_patch(
    made: Release,
    base: Path | None,
    *,
    out: Path,
    signer: Signer | None = None,
    base_version: str | None = None,
    version: str | None = None,
    progress: Callable[[float], object] = lambda share: None,
) -> Release | None:
    """Writes into `out` what a board makes `made` of: a delta from the firmware file `base`, or,
    where that is None, the compressed firmware. None where it would be no smaller than `made`.

    A signed patch needs a signer; it is signed as `version`, by default that of `made`. Raises
    ReleaseError, OSError where a file cannot be read.
    """
    old, name = b"", ""
    if base:
        found = inspect(base)
        if found.kind != made.kind:
            raise ReleaseError(f"{base} is of another kind than {made.path}: no delta leads there")
        if found.application != made.application:
            raise ReleaseError(
                f"{base} is of the application {found.application!r}, not {made.application!r}"
            )
        if base_version and found.version and base_version != found.version:
            raise ReleaseError(f"{base} is version {found.version!r}, not {base_version!r}")
        name = base_version or found.version or ""
        if not name:
            raise ReleaseError(f"{base} does not say its version: write VERSION=FILE")
        old = split(base.read_bytes())[0]
    whole = made.path.read_bytes()
    try:
        data = patch.make(old, whole, base_version=name, kind=made.kind, progress=progress)
    except PatchError as error:
        raise ReleaseError(str(error)) from None
    version = version or made.version
    if signer:
        if not version:
            raise ReleaseError(f"{made.path} does not say its version: name it with --version")
        data = signer.sign(data, version, "patch")
    if len(data) >= len(whole):
        return None
    _write(out, data)
    return inspect(out)


def apply_patch(file: Path, base: Path | None) -> bytes:
    """The firmware file that a board makes of a patch, `base` being what runs there.

    Raises ReleaseError, OSError where a file cannot be read.
    """
    try:
        old = split(base.read_bytes())[0] if base else b""
        return patch.apply(old, split(file.read_bytes())[0])
    except PatchError as error:
        raise ReleaseError(f"{file}: {error}") from None


def patch_out(whole: Path, base_version: str | None) -> Path:
    """`<name>-from-<base>.bin` beside the full firmware, or `<name>-compressed.bin`."""
    name = f"{whole.stem}-{f'from-{base_version}' if base_version else 'compressed'}.bin"
    if not _SAFE_NAME.fullmatch(name):
        raise ReleaseError(f"{name!r} is not a good file name: the base's version stands in it")
    return whole.with_name(name)


def find_base(version: str, like: Release) -> Path:
    """The full firmware of that version beside `like`. Raises ReleaseError unless there is one."""
    folder = like.path.parent
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.bin")):
        if path.resolve() == like.path.resolve():
            continue
        try:
            made = inspect(path)
        except (ReleaseError, OSError):
            continue  # some other file; what is asked for is missed below
        same = made.kind == like.kind and made.application == like.application
        if same and made.version == version:
            found.setdefault(made.sha256, path)
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        names = ", ".join(str(path) for path in found.values())
        raise ReleaseError(f"several files are version {version}: {names}; name one of them")
    raise ReleaseError(
        f"no firmware {version} beside {like.path}: name its file, as in --from {version}=FILE"
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
    python = {name: path.read_bytes() for name, path in sources.items() if name[-3:] == ".py"}
    names = of_package(python)
    for name, source in sources.items():
        target = name
        if mpy and name.endswith(".py"):
            target = name[:-3] + ".mpy"
            if target in sources:
                raise ReleaseError(f"the folder holds both {name} and {target}; remove one")
        check_path(target)
        contents[target] = _compile(name, source, names) if target != name else source.read_bytes()
    return contents


def _compile(name: str, source: Path, names: Names) -> bytes:
    """The .mpy of one source; the name inside it is the bundle's, so that it is reproducible."""
    try:
        return compile_mpy(source.read_bytes(), name, names)
    except ValueError as error:
        said = str(error)
        place = _COMPILE_PLACE.findall(said)
        where = f"{name}:{place[-1]}" if place else name
        raise ReleaseError(f"{where}: {said.splitlines()[-1]} (in {source})") from None


def _write(out: Path, data: bytes) -> None:
    """Replaces `out` in one step, so that a failure leaves no half file under its name."""
    out.parent.mkdir(parents=True, exist_ok=True)
    half = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        half.write_bytes(data)
        half.replace(out)
    finally:
        half.unlink(missing_ok=True)
