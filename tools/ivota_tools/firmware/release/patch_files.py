"""Write deltas and compressed firmware next to the full firmware file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .. import patch
from ..bundle import ReleaseError
from ..patch import PatchError
from ..signed_file import Signer, split
from .inspection import Release, check_usable, inspect
from .packing import SAFE_NAME, written


def make_patch(
    made: Release,
    base: Path | None,
    *,
    out: Path,
    signer: Signer | None = None,
    base_version: str | None = None,
    version: str | None = None,
    replace: bool = True,
    progress: Callable[[float], object] = lambda share: None,
) -> Release | None:
    """Write to `out` a delta from the firmware file `base` to `made`, or compressed firmware if
    `base` is None. Return None if the patch would not be smaller than `made`.

    With a signer, the patch is signed for `version`, by default the version of `made`. `replace`
    allows overwriting `out`. Raises ReleaseError, or OSError if a file cannot be read.
    """
    old, name = b"", ""
    if base:
        found = inspect(base)
        check_usable(found)
        if found.kind != made.kind:
            raise ReleaseError(
                f"a delta needs two files of the same kind, but {base} is of kind {found.kind} "
                f"and {made.path} is of kind {made.kind}"
            )
        if found.application != made.application:
            raise ReleaseError(
                f"{base} is firmware for {found.application!r}, not for {made.application!r}"
            )
        if base_version and found.version and base_version != found.version:
            raise ReleaseError(f"{base} is version {found.version!r}, not {base_version!r}")
        name = base_version or found.version or ""
        if not name:
            raise ReleaseError(f"{base} does not contain its version: use VERSION=FILE")
        old = split(base.read_bytes())[0]
    whole = made.path.read_bytes()
    try:
        data = patch.make(old, whole, base_version=name, kind=made.kind, progress=progress)
    except PatchError as error:
        raise ReleaseError(str(error)) from None
    version = version or made.version
    if signer:
        if not version:
            raise ReleaseError(f"{made.path} does not contain its version: add --version")
        data = signer.sign(data, version, "patch")
    if len(data) >= len(whole):
        return None
    return written(out, data, replace)


def apply_patch(file: Path, base: Path | None) -> bytes:
    """Return the firmware that a board produces from a patch while it runs `base`.

    Raises ReleaseError, or OSError if a file cannot be read.
    """
    try:
        old = split(base.read_bytes())[0] if base else b""
        return patch.apply(old, split(file.read_bytes())[0])
    except PatchError as error:
        raise ReleaseError(f"{file}: {error}") from None


def patch_out(whole: Path, base_version: str | None) -> Path:
    """Return `<name>-from-<base>.bin` next to the full firmware, or `<name>-compressed.bin`."""
    name = f"{whole.stem}-{f'from-{base_version}' if base_version else 'compressed'}.bin"
    if not SAFE_NAME.fullmatch(name):
        raise ReleaseError(
            f"cannot name a delta {name!r}: the base's version contains characters that a file "
            "name must not have"
        )
    return whole.with_name(name)


def find_base(version: str, like: Release) -> Path:
    """Find the full firmware of a version next to `like`. Raises ReleaseError if it is missing."""
    folder = like.path.parent
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.bin")):
        if path.resolve() == like.path.resolve():
            continue
        try:
            made = inspect(path)
        except (ReleaseError, OSError):
            continue  # an unrelated file; a missing base is reported below
        same = made.kind == like.kind and made.application == like.application
        if same and made.version == version:
            found.setdefault(made.sha256, path)
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        names = ", ".join(str(path) for path in found.values())
        raise ReleaseError(f"several files have version {version}: {names}; specify one of them")
    raise ReleaseError(
        f"no firmware {version} next to {like.path}: specify its file, for example "
        f"--from {version}=FILE"
    )
