"""Read, verify and write a channel's signed index (docs/channel.md)."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..firmware.board_limits import CHANNEL_INDEX, PUSHED_VERSION, SIGNATURE
from ..firmware.bundle import ReleaseError

if TYPE_CHECKING:  # cryptography is slow to import, and only signing and verifying need it
    from ..firmware.signing_keys import PrivateKey, PublicKey

FORMAT = 1
NAME = "channel.json"
_DAMAGES = (AttributeError, KeyError, TypeError, ValueError, RecursionError)


class ChannelError(ReleaseError):
    """The channel, or a change to it, is not valid."""


@dataclass(frozen=True)
class Delta:
    """A patch from the version `base` to its release; `size` in bytes."""

    base: str
    file: str
    size: int
    md5: str


@dataclass(frozen=True)
class Release:
    """A release in a track; `size` in bytes, `not_before` in Unix seconds or None.

    `share` is the percentage of the boards that get it, `target` the kind of board or None,
    `sequence` the number with which its firmware is signed.
    """

    version: str
    target: str | None
    sequence: int
    file: str
    size: int
    md5: str
    share: int = 100
    not_before: int | None = None
    deltas: tuple[Delta, ...] = ()

    def covers(self, name: str) -> bool:
        """Return whether the board with this device name is in the share, by the rule of the
        boards.
        """
        drawn = hashlib.sha256(f"{self.md5}/{name}".encode()).digest()
        return int.from_bytes(drawn[:2], "big") * 100 < self.share << 16


@dataclass(frozen=True)
class Index:
    """The content of channel.json; `expires` in Unix seconds or None."""

    product: str
    serial: int = 0
    expires: int | None = None
    tracks: dict[str, tuple[Release, ...]] = field(default_factory=lambda: {"stable": ()})

    def encode(self) -> bytes:
        """Return the bytes to sign."""
        tracks = {
            name: [_release_json(release) for release in releases]
            for name, releases in self.tracks.items()
        }
        values: dict[str, Any] = {
            "channel": FORMAT,
            "product": self.product,
            "serial": self.serial,
            "tracks": tracks,
        }
        if self.expires is not None:
            values["expires"] = self.expires
        # No \u escapes: MicroPython does not join surrogate pairs.
        return json.dumps(
            values, sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode()

    def signed(self, key: PrivateKey) -> bytes:
        """Return the file's bytes. Raises ChannelError if a board could not read them."""
        body = self.encode()
        data = body + b"\n" + base64.b64encode(key.sign(body)) + b"\n"
        if len(data) > CHANNEL_INDEX:
            raise ChannelError(
                f"the index would have {len(data):,} bytes, but a board reads at most "
                f"{CHANNEL_INDEX:,}: use fewer tracks, targets or deltas"
            )
        return data


def verify(data: bytes, keys: Sequence[PublicKey]) -> Index:
    """Return the index in a channel.json that one of the keys has signed. Raises ChannelError."""
    body, signature = _split(data)
    if not any(key.signed(body, signature) for key in keys):
        known = ", ".join(key.id for key in keys)
        raise ChannelError(f"{NAME} is not signed by a trusted key ({known})")
    return _decode(body)


def decode(data: bytes) -> Index:
    """Return the index in a channel.json without checking its signature. Raises ChannelError."""
    return _decode(_split(data)[0])


def files_of(index: Index) -> Iterator[Release | Delta]:
    """Yield the files that an index names."""
    for offered in index.tracks.values():
        for release in offered:
            yield release
            yield from release.deltas


def _split(data: bytes) -> tuple[bytes, bytes]:
    body, _, text = data.rstrip().rpartition(b"\n")
    try:
        signature = base64.b64decode(text, validate=True)
    except binascii.Error:
        signature = b""
    if len(signature) != SIGNATURE or len(data) > CHANNEL_INDEX:
        raise ChannelError(f"{NAME} is incomplete, or is not the index of a channel")
    return body, signature


def _decode(body: bytes) -> Index:
    try:
        found = json.loads(body)
        if found["channel"] != FORMAT:
            raise ChannelError(f"{NAME} needs a newer version of ivota")
        tracks = {
            str(name): tuple(_release(each) for each in releases)
            for name, releases in found["tracks"].items()
        }
        index = Index(str(found["product"]), found["serial"], found.get("expires"), tracks)
        _expect_numbers(index)
        return index
    except ChannelError:
        raise
    except _DAMAGES as error:
        raise ChannelError(f"{NAME} is damaged: {error}") from None


def _expect_numbers(index: Index) -> None:
    if type(index.serial) is not int or index.serial < 0:
        raise ValueError(f"its serial number {index.serial!r} is invalid")
    if index.expires is not None and type(index.expires) is not int:
        raise ValueError(f"its expiry time {index.expires!r} is invalid")
    for file in files_of(index):
        if type(file.size) is not int or type(file.file) is not str or type(file.md5) is not str:
            raise ValueError(f"the file {file.file!r} has values of the wrong type")


def _release_json(release: Release) -> dict[str, Any]:
    values = dataclasses.asdict(release)
    values["deltas"] = [
        {"from": delta.base, "file": delta.file, "size": delta.size, "md5": delta.md5}
        for delta in release.deltas
    ]
    for name, default in (("share", 100), ("not_before", None), ("deltas", [])):
        if values[name] == default:
            del values[name]
    return values


def _release(found: dict[str, Any]) -> Release:
    values = dict(found)
    values["deltas"] = tuple(
        Delta(each["from"], each["file"], each["size"], each["md5"])
        for each in values.get("deltas", ())
    )
    release = Release(**values)
    if not 1 <= len(release.version) <= PUSHED_VERSION or not 0 <= release.share <= 100:
        raise ValueError(f"the release {release.version!r} has values out of range")
    return release
