"""What a firmware file is: of which kind, for whom, signed by whom, and whether it is whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...common.mapped_file import digests, mapped
from .. import bundle, esp32_image, patch, romfs
from ..bundle import BundleFile, ReleaseError
from ..esp32_image import Image
from ..patch import Patch, PatchError, Summary
from ..signed_file import SignedHeader, fits, split

# What a compressed file begins with, and what it is.
_COMPRESSED = {
    b"\x1f\x8b": "a .gz file",
    b"PK\x03\x04": "a .zip file",
    b"PK\x05\x06": "a .zip file",
    b"\xfd7zXZ\0": "an .xz file",
    b"BZh": "a .bz2 file",
    b"7z\xbc\xaf\x27\x1c": "a .7z file",
    b"\x28\xb5\x2f\xfd": "a .zst file",
}


@dataclass(frozen=True)
class Release:
    """What a firmware file is. Sizes in bytes; `application` and `files` of bundles only.

    `version` is a bundle's, or what was signed; `patch` and `does` are of patches, which make
    another firmware; `image` is of ESP32 images, also of the application inside one of the whole
    flash. `archive_size` is where the image ends and filler begins; digests are of
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
    image: Image | None = None


UNPACKED_MOST = 256 << 20  # bytes of a bundle or a patch, which are read into memory


def kind_of(head: bytes) -> str:
    """ "bundle", "esp32-image", "patch", "compressed" or "other", by a firmware's first 36 bytes.

    These do not tell an image of a whole flash, "esp32-flash", from an application's.
    """
    if head.startswith(romfs.MAGIC):
        return "bundle"
    if head[:1] == b"\xe9":
        return "esp32-image"
    if head[:8] == patch.MAGIC:
        return "patch"
    if head.startswith(tuple(_COMPRESSED)):
        return "compressed"
    return "other"


def check_usable(made: Release) -> None:
    """Raises ReleaseError for a file that has a firmware inside; says how to get it out."""
    if made.kind == "compressed":
        with made.path.open("rb") as file:
            head = file.read(8)
        what = next(name for start, name in _COMPRESSED.items() if head.startswith(start))
        raise ReleaseError(f"it is {what}: unpack it and use the firmware inside")
    if made.kind == "esp32-flash":
        raise ReleaseError(
            "it is an image of a whole flash, with boot loader and partition table, but an update "
            "needs only the application: use the file that ends in .app-bin (micropython.bin in "
            "your own build), or let `ivota release` extract it"
        )


def warnings(made: Release) -> list[str]:
    """What may be wrong with a firmware, in sentences."""
    if made.kind == "esp32-image" and not made.image:
        return [
            "it starts like an ESP32 image but has no application description: a board would "
            "reject it"
        ]
    return []


def inspect(path: Path) -> Release:
    """Reads a firmware file; a bundle's records are checked as a board checks them.

    Whose signature it is, is not asked: `signing.verify` does. Raises ReleaseError where a bundle
    or a signed firmware is damaged, OSError where the file cannot be read.
    """
    data = mapped(path)
    payload, trailer = split(data)
    signed = trailer.header if trailer else None
    kind = kind_of(bytes(payload[:512]))
    if kind in ("bundle", "patch") and len(payload) > UNPACKED_MOST:
        raise ReleaseError(f"a {kind} of {len(payload):,} bytes is larger than any board's flash")
    packed = bundle.read(bytes(payload)) if kind == "bundle" else None
    version = packed.version if packed else None
    makes, does, image = None, None, None
    if kind in ("esp32-image", "other"):
        inside = esp32_image.application_in(payload)
        kind = "esp32-flash" if inside else kind
        image = inside[1] if inside else esp32_image.read(payload)
    if kind == "patch":
        try:
            content = bytes(payload)
            makes, does = patch.read(content), patch.summarize(content)
        except PatchError as error:
            raise ReleaseError(str(error)) from None
    if trailer and signed:
        if not fits(payload, trailer) or signed.kind != kind:
            raise ReleaseError("the payload is not the one that was signed")
        if version not in (None, signed.version):
            raise ReleaseError(f"a bundle {version!r} is signed as {signed.version!r}")
        version = signed.version
    found = digests(path)
    return Release(
        path=path,
        kind=kind,
        size=len(data),
        payload_size=len(payload),
        archive_size=packed.size if packed else None,
        md5=found.md5,
        sha256=found.sha256,
        application=packed.application if packed else None,
        version=version,
        files=packed.files if packed else (),
        signed=signed,
        patch=makes,
        does=does,
        image=image,
    )
