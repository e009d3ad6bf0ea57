"""Read and write signed firmware: payload, header, signature, footer (docs/formats.md)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from .board_limits import SIGNATURE as SIGNATURE_SIZE
from .board_limits import SIGNED_HEADER as HEADER_MOST
from .bundle import ReleaseError, check_version

if TYPE_CHECKING:  # cryptography is slow to import, and only signing and verifying need it
    from .signing_keys import PrivateKey, PublicKey

FORMAT = 1
MAGIC = b"IVOTASIG"
SEQUENCE_MOST = 0xFFFF_FFFF  # large enough for a Unix time
TARGET_MOST = 32  # characters
_TIME_MOST = 1 << 40  # seconds
_FOOTER = struct.Struct("<HH8s")


@dataclass(frozen=True)
class SignedHeader:
    """The signed header: `size` of the payload in bytes, `time` in Unix seconds or 0.

    `target` is the kind of board, or None for boards without a target; `key` is the id of the
    public key.
    """

    version: str
    sequence: int
    target: str | None
    kind: str
    size: int
    sha256: str
    time: int
    key: str

    def encode(self) -> bytes:
        values = {"v": FORMAT, **dataclasses.asdict(self)}
        # No \u escapes: MicroPython does not join surrogate pairs.
        text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return text.encode()


@dataclass(frozen=True)
class Trailer:
    """The trailer of a signed firmware, unverified: see `verify`."""

    header: SignedHeader
    signed: bytes  # the header's bytes in the file
    signature: bytes


@dataclass(frozen=True)
class Signer:
    """A key to sign with, and the values that are signed along with the payload."""

    key: PrivateKey
    sequence: int
    target: str | None = None
    time: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.sequence <= SEQUENCE_MOST:
            raise ReleaseError(
                f"a sequence number must be 1 to {SEQUENCE_MOST}, not {self.sequence}"
            )
        if self.target is not None and not 1 <= len(self.target) <= TARGET_MOST:
            raise ReleaseError(f"a target must have 1 to {TARGET_MOST} characters")
        if self.target is not None and not self.target.isprintable():
            raise ReleaseError(f"the target {self.target!r} must not contain control characters")
        if not 0 <= self.time <= _TIME_MOST:
            raise ReleaseError("the time must be in seconds since 1970, or 0 for none")

    def sign(self, payload: bytes, version: str, kind: str) -> bytes:
        """Return the signed firmware file. The same arguments give the same bytes."""
        check_version(version)
        header = self._header(len(payload), hashlib.sha256(payload).hexdigest(), version, kind)
        signature = self.key.sign(header)
        return payload + header + signature + _FOOTER.pack(len(header), len(signature), MAGIC)

    def payload_size(self, size: int, version: str, kind: str) -> int:
        """Return the size of the payload in a signed file of `size`. Raises ReleaseError."""
        for digits in range(len(str(size)), 0, -1):  # digits of the payload's size in the header
            header = self._header(10 ** (digits - 1), "0" * 64, version, kind)
            payload = size - len(header) - SIGNATURE_SIZE - _FOOTER.size
            if len(str(payload)) == digits and payload >= 0:
                return payload
        if payload < 0:
            raise ReleaseError(
                f"cannot pad a signed file to {size} bytes: the signature alone is larger"
            )
        raise ReleaseError(f"cannot pad a signed file to exactly {size} bytes: use one byte more")

    def _header(self, size: int, sha256: str, version: str, kind: str) -> bytes:
        return SignedHeader(
            version=version,
            sequence=self.sequence,
            target=self.target,
            kind=kind,
            size=size,
            sha256=sha256,
            time=self.time,
            key=self.key.public.id,
        ).encode()


_TYPES: dict[str, tuple[type, ...]] = {
    "version": (str,),
    "sequence": (int,),
    "target": (str, type(None)),
    "kind": (str,),
    "size": (int,),
    "sha256": (str,),
    "time": (int,),
    "key": (str,),
}


Bytes = TypeVar("Bytes", bytes, memoryview)


def split(data: Bytes) -> tuple[Bytes, Trailer | None]:
    """Split a file into (payload, trailer), or (file, None) if it is not signed.

    Raises ReleaseError for a damaged trailer.
    """
    if len(data) < _FOOTER.size or data[-len(MAGIC) :] != MAGIC:
        return data, None
    try:
        return _split(data)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ReleaseError(f"the signature block is damaged: {error}") from None


def _split(data: Bytes) -> tuple[Bytes, Trailer]:
    header_size, signature_size, _ = _FOOTER.unpack(data[-_FOOTER.size :])
    start = len(data) - _FOOTER.size - header_size - signature_size
    if signature_size != SIGNATURE_SIZE or header_size > HEADER_MOST or start < 0:
        raise ValueError(
            f"invalid sizes ({header_size} bytes of header, {signature_size} of signature)"
        )
    signed = bytes(data[start : start + header_size])
    found = json.loads(signed)
    if type(found["v"]) is not int or found.pop("v") != FORMAT:
        raise ValueError("its format is not supported by this version of ivota")
    header = SignedHeader(**found)
    for field, types in _TYPES.items():
        if type(found[field]) not in types:
            raise ValueError(f"{field} is {found[field]!r}")
    if not 1 <= header.sequence <= SEQUENCE_MOST or not 0 <= header.time <= _TIME_MOST:
        raise ValueError("a number is out of range")
    trailer = Trailer(header, signed, bytes(data[start + header_size : -_FOOTER.size]))
    return data[:start], trailer


def fits(payload: bytes | memoryview, trailer: Trailer) -> bool:
    """Return whether the payload matches the header, without checking the signature."""
    header = trailer.header
    return header.size == len(payload) and header.sha256 == hashlib.sha256(payload).hexdigest()


def verify(data: bytes, keys: Sequence[PublicKey]) -> Trailer:
    """Verify that one of the keys signed a firmware; return its trailer. Raises ReleaseError."""
    payload, trailer = split(data)
    if trailer is None:
        raise ReleaseError("the firmware is not signed")
    if not any(key.signed(trailer.signed, trailer.signature) for key in keys):
        known = ", ".join(key.id for key in keys)
        raise ReleaseError(
            f"the firmware names the key {trailer.header.key}, "
            f"but is not signed by a trusted key ({known})"
        )
    if not fits(payload, trailer):
        raise ReleaseError("the payload does not match the signed SHA-256")
    return trailer
