"""What a firmware file is: of which kind, for whom, signed by whom, and whether it is whole."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from .. import bundle, patch
from ..bundle import FILE_LIST, BundleFile, ReleaseError
from ..patch import Patch, PatchError, Summary
from ..signed_file import SignedHeader, fits, split


@dataclass(frozen=True)
class Release:
    """What a firmware file is. Sizes in bytes; `application` and `files` of bundles only.

    `version` is a bundle's, or what was signed; `patch` and `does` are of patches, which make
    another firmware. `archive_size` is where the archive ends and filler begins; digests are of
    the whole file. `signed` is what the file says, by whomever.
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
    packed = bundle.read(payload) if kind == "bundle" else None
    version = packed.version if packed else None
    makes, does = None, None
    if kind == "patch":
        try:
            makes, does = patch.read(payload), patch.summarize(payload)
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
        archive_size=packed.size if packed else None,
        md5=hashlib.md5(data).hexdigest(),
        sha256=hashlib.sha256(data).hexdigest(),
        application=packed.application if packed else None,
        version=version,
        files=packed.files if packed else (),
        signed=signed,
        patch=makes,
        does=does,
    )
