"""Publish, withdraw and roll out releases in a channel's folder.

Firmware is written first and `channel.json` last, each file in one step. Someone who reads the
folder in between, or copies it to a web server in that order, gets the old channel or the new one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..common import atomic_write
from ..firmware import release as releases
from ..firmware.bundle import ReleaseError
from ..firmware.release.packing import written
from ..firmware.signed_file import Signer, split, verify
from . import history, tracks
from .history import Known
from .index import NAME, ChannelError, Delta, Index, Release, decode, files_of
from .index import verify as verify_index

if TYPE_CHECKING:  # cryptography is slow to import
    from ..firmware.signing_keys import PrivateKey

DAY_S = 86400
VALID_DAYS = 365
DELTAS = 2  # to a release, from the ones before it
Note = Callable[[str], object]


class Channel:
    """A channel in a folder, opened with the private key that signs it.

    Every change signs a new index with the next serial number and a new expiry. The function
    `note` receives sentences about the effects of a change. Raises ChannelError, ReleaseError or
    OSError.
    """

    def __init__(self, folder: Path, key: PrivateKey, note: Note = lambda sentence: None) -> None:
        self.folder = folder
        self._key = key
        self._note = note
        self.index = verify_index(_read(folder), [key.public])
        self.history = history.read(folder)

    @classmethod
    def create(cls, folder: Path, product: str, key: PrivateKey, valid_days: int) -> Channel:
        """Create a channel without releases. Raises ChannelError if there is one already."""
        if (folder / NAME).exists():
            raise ChannelError(f"{folder} already contains a channel")
        index = Index(product, serial=1, expires=_expiry(valid_days))
        history.write(folder, valid_days, ())
        atomic_write.write(folder / NAME, index.signed(key))
        return cls(folder, key)

    def publish(
        self,
        source: Path,
        *,
        track: str = "stable",
        version: str | None = None,
        target: str | None = None,
        sequence: int | None = None,
        share: int = 100,
        not_before: int | None = None,
        deltas: int = DELTAS,
        progress: Callable[[str], Callable[[float], object]] = lambda what: lambda share: None,
    ) -> Release:
        """Add the firmware file `source` to a track, and deltas from the releases before it.

        It is signed with the channel's key unless it already is. `sequence` is by default the
        next one after all that the channel has published. `share` is a percentage of boards,
        `not_before` a Unix time.
        """
        tracks.check_share(share)
        made = releases.inspect(source)
        releases.check_usable(made)
        if made.kind == "patch":
            raise ChannelError(
                f"{source} is a patch: publish the full firmware, and ivota makes the deltas"
            )
        payload, trailer = split(source.read_bytes())
        if trailer:
            verify(source.read_bytes(), [self._key.public])
            if target not in (None, trailer.header.target) or sequence is not None:
                raise ChannelError(f"{source} is already signed: omit --target and --sequence")
            target, sequence = trailer.header.target, trailer.header.sequence
        version = version or made.version
        if not version:
            raise ChannelError(f"{source} does not contain its version: add --version")
        if made.version not in (None, version):
            raise ChannelError(f"{source} is version {made.version!r}, not {version!r}")
        digest = hashlib.sha256(payload).hexdigest()
        self._check_new(version, target, digest, track)
        sequence = self._next_sequence(sequence)
        signer = Signer(self._key, sequence, target)
        data = source.read_bytes() if trailer else signer.sign(payload, version, made.kind)
        return self._add(data, version, signer, track, digest, share, not_before, deltas, progress)

    def withdraw(self, version: str, *, track: str = "stable") -> Release | None:
        """Withdraw the release that a track offers now, and return the release that replaces it.

        The replacement is the newest earlier release for the same boards, signed again with a
        higher sequence, so that boards that already run the withdrawn version return to it.
        """
        bad = tracks.offered(self.index, track, version)
        before = [
            known
            for known in self.history
            if known.track == track
            and known.release.target == bad.target
            and known.release.version != version
            and not known.withdrawn
            and known.release.sequence < bad.sequence
        ]
        self._mark_withdrawn(bad, track)
        if not before:
            self._note(
                f"{track} had no release before {version}: boards that run {version} will keep "
                "it, and no other board will get it"
            )
            self.index = tracks.remove(self.index, track, bad)
            self._write()
            return None
        good = before[-1]
        source = self.folder / good.release.file
        payload = split(source.read_bytes())[0]
        if hashlib.sha256(payload).hexdigest() != good.payload_sha256:
            raise ChannelError(
                f"{source} has changed since {good.release.version} was published: restore it "
                "from a backup"
            )
        signer = Signer(self._key, self._next_sequence(None), bad.target)
        kind = releases.inspect(source).kind
        data = signer.sign(payload, good.release.version, kind)
        # The new sequence is above those of all others: boards would reject newer ones.
        for newer in self.index.tracks[track]:
            if newer.target == bad.target and newer.sequence > bad.sequence:
                self._mark_withdrawn(newer, track)
                self._note(f"{newer.version} is also withdrawn: publish it again to offer it")
        self.index = tracks.remove(self.index, track, bad)
        return self._add(
            data, good.release.version, signer, track, good.payload_sha256, 100, None, DELTAS
        )

    def roll_out(self, version: str, share: int, *, track: str = "stable") -> Release:
        """Offer a release to another percentage of the boards.

        After a smaller share, boards that already have the release keep it: see `withdraw`.
        """
        old = tracks.offered(self.index, track, version)
        self.index, new = tracks.share(self.index, track, old, share)
        self._write()
        return new

    def promote(self, version: str, *, source: str, track: str) -> Release:
        """Offer a release of the track `source` to all boards of another track as well.

        It is signed again if the track has had a higher sequence: its boards would reject it.
        """
        found = tracks.offered(self.index, source, version)
        known = next(
            each
            for each in reversed(self.history)
            if each.track == source and each.release.md5 == found.md5
        )
        self._check_new(version, found.target, known.payload_sha256, track)
        path = self.folder / found.file
        data = path.read_bytes()
        signer = Signer(self._key, found.sequence, found.target)
        if any(
            each.track == track and each.release.sequence > found.sequence for each in self.history
        ):
            signer = Signer(self._key, self._next_sequence(None), found.target)
            data = signer.sign(split(data)[0], version, releases.inspect(path).kind)
        return self._add(data, version, signer, track, known.payload_sha256, 100, None, DELTAS)

    def refresh(self, above: int = 0) -> Index:
        """Sign the same releases with a new expiry, and with a serial number above `above`."""
        self._write(above)
        return self.index

    # Helpers for all changes

    def _add(
        self,
        data: bytes,
        version: str,
        signer: Signer,
        track: str,
        digest: str,
        share: int,
        not_before: int | None,
        deltas: int,
        progress: Callable[[str], Callable[[float], object]] = lambda what: lambda share: None,
    ) -> Release:
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        path = self.folder / f"{md5}.bin"  # a name for these bytes alone: caches never mix them
        whole = written(path, data)
        new = Release(
            version=version,
            target=signer.target,
            sequence=signer.sequence,
            file=path.name,
            size=whole.size,
            md5=md5,
            share=share,
            not_before=not_before,
            deltas=tuple(self._deltas(whole, version, signer, track, deltas, progress)),
        )
        self.index, ended = tracks.add(self.index, track, new)
        for each in ended:
            self._note(f"the rollout of {each.version} ends: {version} replaces it")
        self.history.append(Known(track, new, digest))
        self._write()
        return new

    def _deltas(
        self,
        whole: releases.Release,
        version: str,
        signer: Signer,
        track: str,
        most: int,
        progress: Callable[[str], Callable[[float], object]],
    ) -> list[Delta]:
        bases: dict[str, Release] = {}
        for known in reversed(self.history):
            old = known.release
            if known.track == track and old.target == signer.target and old.version != version:
                bases.setdefault(old.version, old)
        found = []
        for base_version, base in list(bases.items())[:most]:
            half = self.folder / f".delta-{base.md5}"
            try:
                patch = releases.make_patch(
                    whole,
                    self.folder / base.file,
                    out=half,
                    signer=signer,
                    base_version=base_version,
                    version=version,
                    progress=progress(f"delta from {base_version}"),
                )
                if patch:
                    file = self.folder / f"{patch.md5}.bin"
                    half.replace(file)
                    found.append(Delta(base_version, file.name, patch.size, patch.md5))
            except ReleaseError as error:
                self._note(f"no delta from {base_version}: {error}")
            finally:
                half.unlink(missing_ok=True)
        return found

    def _check_new(self, version: str, target: str | None, digest: str, track: str) -> None:
        for known in self.history:
            old = known.release
            if old.version != version or old.target != target:
                continue
            if known.payload_sha256 != digest:
                raise ChannelError(
                    f"{version} was published with different contents: choose another version"
                )
            if known.track == track and not known.withdrawn:
                raise ChannelError(f"version {version} is already published in {track}")

    def _next_sequence(self, given: int | None) -> int:
        most = max((known.release.sequence for known in self.history), default=0)
        if given is None:
            return most + 1
        if given <= most:
            raise ChannelError(
                f"sequence {given} is not above {most}, the highest in this channel: boards would "
                "reject the release as a downgrade"
            )
        return given

    def _mark_withdrawn(self, bad: Release, track: str) -> None:
        self.history = [
            dataclasses.replace(known, withdrawn=True)
            if known.track == track and known.release.md5 == bad.md5
            else known
            for known in self.history
        ]

    def _write(self, above: int = 0) -> None:
        days = history.valid_days(self.folder)
        serial = max(self.index.serial, above) + 1
        index = dataclasses.replace(self.index, serial=serial, expires=_expiry(days))
        data = index.signed(self._key)  # before anything is replaced: it may be too long
        history.write(self.folder, days, self.history)
        atomic_write.write(self.folder / NAME, data)
        self.index = index


def load(folder: Path, public_key: Path | None, file: Path | None = None) -> Index:
    """Read a channel's index, by default `channel.json`; verify it if there is a public key.

    Raises ChannelError.
    """
    data = _read(folder, file)
    if public_key is None:
        return decode(data)
    from ..firmware.signing_keys import load_public

    return verify_index(data, [load_public(public_key)])


def problems(folder: Path, index: Index) -> list[str]:
    """Return the problems of the files that the index names."""
    found = []
    for file in files_of(index):
        try:
            data = (folder / file.file).read_bytes()
        except OSError as error:
            found.append(f"{file.file}: {error.strerror}")
            continue
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != file.md5:
            found.append(f"{file.file} is damaged")
    return found


def _read(folder: Path, file: Path | None = None) -> bytes:
    try:
        return (file if file and file.is_file() else folder / NAME).read_bytes()
    except OSError as error:
        raise ChannelError(
            f"{folder} has no {NAME} ({error.strerror}): create one with `ivota channel init`"
        ) from None


def _expiry(valid_days: int) -> int | None:
    return int(time.time()) + valid_days * DAY_S if valid_days else None
