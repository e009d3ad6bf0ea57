"""Inspect a firmware file: its kind, target, signature and integrity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...board.config_check import check_bundle_config
from ...board.errors import BoardError
from ...common.mapped_file import digests, mapped
from .. import bundle, esp32_image, patch, romfs
from ..bundle import BundleFile, ReleaseError
from ..esp32_image import Image
from ..patch import Patch, PatchError, Summary
from ..signed_file import SignedHeader, fits, split

# The first bytes of compressed files, and what the files are.
_COMPRESSED = {
    b"\x1f\x8b": "a .gz file",
    b"PK\x03\x04": "a .zip file",
    b"PK\x05\x06": "a .zip file",
    b"\xfd7zXZ\0": "an .xz file",
    b"BZh": "a .bz2 file",
    b"7z\xbc\xaf\x27\x1c": "a .7z file",
    b"\x28\xb5\x2f\xfd": "a .zst file",
}

# The first bytes of updates for Linux devices: SWUpdate's and RAUC's.
_LINUX = {b"070701": "swu", b"070702": "swu", b"hsqs": "rauc"}


@dataclass(frozen=True)
class Release:
    """A description of a firmware file. Sizes in bytes; bundles have `application` and `files`,
    and `updater_min` if they need the board's own updater.

    `version` is from the bundle or the signature. Patches have `patch` and `does`; ESP32 images
    have `image`, which for a whole-flash image describes the application inside. `archive_size`
    is the size without padding; digests are of the whole file. `signed` is not verified.
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
    updater_min: str | None = None
    signed: SignedHeader | None = None
    patch: Patch | None = None
    does: Summary | None = None
    image: Image | None = None


UNPACKED_MOST = 256 << 20  # bytes of a bundle or a patch, which are read into memory


def kind_of(head: bytes) -> str:
    """Return "bundle", "esp32-image", "patch", "compressed" or "other" from the first 36 bytes.

    A whole-flash image, "esp32-flash", cannot be told from an application by these bytes.
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


def _linux_kind(head: bytes) -> str:
    return next((kind for start, kind in _LINUX.items() if head.startswith(start)), "other")


def check_usable(made: Release) -> None:
    """Raise ReleaseError for a file that every board would reject.

    The error says how to get the firmware out of an archive or an image of the whole flash. In a
    bundle, config.json must not set the identity of boards; the bundle's own package may accept
    other keys.
    """
    if made.kind == "compressed":
        with made.path.open("rb") as file:
            head = file.read(8)
        what = next(name for start, name in _COMPRESSED.items() if head.startswith(start))
        raise ReleaseError(f"the file is {what}: unpack it and use the firmware inside")
    if made.kind == "esp32-flash":
        raise ReleaseError(
            "the file is an image of the whole flash, with boot loader and partition table, but "
            "an update needs only the application: use micropython.bin from your own build, or "
            "let `ivota release` extract it"
        )
    if any(file.path == "config.json" for file in made.files):
        payload = split(mapped(made.path))[0]
        try:
            check_bundle_config(dict(romfs.files(bytes(payload)))["config.json"], None)
        except BoardError as error:
            raise ReleaseError(str(error)) from None


def warnings(made: Release) -> list[str]:
    """Return warnings about a firmware."""
    if made.kind == "esp32-image" and not made.image:
        return [
            "this file starts like an ESP32 image but has no application description: a board "
            "would reject it"
        ]
    if made.kind == "other":
        return [
            "this file is neither a bundle nor an ESP32 image: only a board with its own "
            "main.py can use such a file"
        ]
    return []


def inspect(path: Path) -> Release:
    """Inspect a firmware file, and check a bundle's records as a board does.

    The signature is not verified: see `signed_file.verify`. Raises ReleaseError if a bundle or a
    signed firmware is damaged, or OSError if the file cannot be read.
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
        if not fits(payload, trailer):
            raise ReleaseError("the payload does not match the signed SHA-256")
        if signed.kind != kind:
            raise ReleaseError(
                f"the payload is of kind {kind}, but is signed as of kind {signed.kind}"
            )
        if version not in (None, signed.version):
            raise ReleaseError(
                f"the bundle has version {version!r}, but is signed as {signed.version!r}"
            )
        version = signed.version
    if kind == "other" and signed is None:  # a signature names the kinds that boards know
        kind = _linux_kind(bytes(payload[:8]))
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
        updater_min=packed.updater_min if packed else None,
        signed=signed,
        patch=makes,
        does=does,
        image=image,
    )
