"""Publish, withdraw and roll out releases in a channel's folder.

Firmware is written first and `channel.json` last, each file in one step: whoever copies the folder
to a web server in that order, or reads it in between, sees the old channel or the new one.
`releases.json` remembers every release for the commands; boards do not read it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common import atomic_write
from ..firmware import release as releases
from ..firmware.bundle import ReleaseError
from ..firmware.release.packing import written
from ..firmware.signed_file import Signer, split, verify
from .index import NAME, ChannelError, Delta, Index, Release, decode
from .index import verify as verify_index

if TYPE_CHECKING:  # cryptography is slow to import
    from ..firmware.signing_keys import PrivateKey

HISTORY = "releases.json"
DAY_S = 86400
VALID_DAYS = 365
DELTAS = 2  # to a release, from the ones before it
Note = Callable[[str], object]


@dataclass(frozen=True)
class Known:
    """A release that was ever published, and the track, for `releases.json`."""

    track: str
    release: Release
    payload_sha256: str
    withdrawn: bool = False


class Channel:
    """A channel in a folder, opened with the private key that signs it.

    Every change signs a new index with the next serial number and a new expiry. `note` gets
    sentences about what a change leads to. Raises ChannelError, ReleaseError or OSError.
    """

    def __init__(self, folder: Path, key: PrivateKey, note: Note = lambda sentence: None) -> None:
        self.folder = folder
        self._key = key
        self._note = note
        self.index = verify_index(_read(folder), [key.public])
        self.history = history(folder)

    @classmethod
    def create(cls, folder: Path, product: str, key: PrivateKey, valid_days: int) -> Channel:
        """Create a channel without releases. Raises ChannelError if there is one already."""
        if (folder / NAME).exists():
            raise ChannelError(f"{folder} already contains a channel")
        index = Index(product, serial=1, expires=_expiry(valid_days))
        history = {"valid_days": valid_days, "releases": []}
        atomic_write.write(folder / HISTORY, json.dumps(history, indent=1) + "\n")
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
        _check_share(share)
        made = releases.inspect(source)
        releases.check_usable(made)
        if made.kind == "patch":
            raise ChannelError(f"{source} is a patch: publish the full firmware; deltas are added")
        payload, trailer = split(source.read_bytes())
        if trailer:
            verify(source.read_bytes(), [self._key.public])
            if target not in (None, trailer.header.target) or sequence is not None:
                raise ChannelError(f"{source} is already signed: its target and sequence are set")
            target, sequence = trailer.header.target, trailer.header.sequence
        version = version or made.version
        if not version or made.version not in (None, version):
            raise ChannelError(f"{source} is version {made.version!r}: add the right --version")
        digest = hashlib.sha256(payload).hexdigest()
        self._check_new(version, target, digest, track)
        sequence = self._next_sequence(sequence)
        signer = Signer(self._key, sequence, target)
        data = source.read_bytes() if trailer else signer.sign(payload, version, made.kind)
        return self._add(data, version, signer, track, digest, share, not_before, deltas, progress)

    def withdraw(self, version: str, *, track: str = "stable") -> Release | None:
        """Take back the release that a track offers now, and return the one that replaces it.

        That is the newest release before it for the same boards, signed again with a higher
        sequence, so that boards which already run the withdrawn version return to it.
        """
        bad = self._offered(version, track)
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
                f"{track} had no release before {version}: boards that run it will keep it, and "
                "no other board will get it"
            )
            self._replace(track, [each for each in self._releases(track) if each != bad])
            return None
        good = before[-1]
        source = self.folder / good.release.file
        payload = split(source.read_bytes())[0]
        if hashlib.sha256(payload).hexdigest() != good.payload_sha256:
            raise ChannelError(f"{source} is not the file that was published")
        signer = Signer(self._key, self._next_sequence(None), bad.target)
        kind = releases.inspect(source).kind
        data = signer.sign(payload, good.release.version, kind)
        self._replace(track, [each for each in self._releases(track) if each != bad], write=False)
        return self._add(
            data, good.release.version, signer, track, good.payload_sha256, 100, None, DELTAS
        )

    def roll_out(self, version: str, share: int, *, track: str = "stable") -> Release:
        """Offer a release to another percentage of the boards.

        A smaller share takes nothing back from boards that already have it: see `withdraw`.
        """
        _check_share(share)
        old = self._offered(version, track)
        new = dataclasses.replace(old, share=share)
        kept = [new if each == old else each for each in self._releases(track)]
        if share == 100 and new.not_before is None:
            kept = [each for each in kept if each.target != new.target or each == new]
        self._replace(track, kept)
        return new

    def promote(self, version: str, *, source: str, track: str) -> Release:
        """Offer a release of the track `source` to all boards of another track as well.

        It is signed again if the track has had a higher sequence: its boards would reject it.
        """
        found = self._offered(version, source)
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

    def refresh(self) -> Index:
        """Sign the same releases with a new expiry."""
        self._write()
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
        kept = list(self._releases(track))
        if share == 100 and not_before is None:
            kept = [each for each in kept if each.target != new.target]
        else:
            same = [each for each in kept if each.target == new.target]
            for dropped in same[1:]:
                self._note(f"the rollout of {dropped.version} ends: {version} takes its place")
                kept.remove(dropped)
        self.history.append(Known(track, new, digest))
        self._replace(track, [*kept, new])
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
                    f"version {version} was published with other contents: choose a new version"
                )
            if known.track == track and not known.withdrawn:
                raise ChannelError(f"version {version} is already published in {track}")

    def _next_sequence(self, given: int | None) -> int:
        most = max((known.release.sequence for known in self.history), default=0)
        if given is None:
            return most + 1
        if given <= most:
            raise ChannelError(
                f"sequence {given} is not above {most}, which the channel has published: boards "
                "would reject it as a downgrade"
            )
        return given

    def _releases(self, track: str) -> tuple[Release, ...]:
        return self.index.tracks.get(track, ())

    def _offered(self, version: str, track: str) -> Release:
        if track not in self.index.tracks:
            raise ChannelError(f"the channel has no track {track!r}")
        found = [each for each in self._releases(track) if each.version == version]
        if not found:
            offered = ", ".join(each.version for each in self._releases(track)) or "nothing"
            raise ChannelError(f"{track} does not offer {version}; it offers {offered}")
        return found[-1]

    def _mark_withdrawn(self, bad: Release, track: str) -> None:
        self.history = [
            dataclasses.replace(known, withdrawn=True)
            if known.track == track and known.release.md5 == bad.md5
            else known
            for known in self.history
        ]

    def _replace(self, track: str, kept: list[Release], write: bool = True) -> None:
        tracks = {**self.index.tracks, track: tuple(kept)}
        self.index = dataclasses.replace(self.index, tracks=tracks)
        if write:
            self._write()

    def _write(self) -> None:
        valid_days = _valid_days(self.folder)
        index = dataclasses.replace(
            self.index, serial=self.index.serial + 1, expires=_expiry(valid_days)
        )
        data = index.signed(self._key)  # before anything is replaced: it may be too long
        history = {
            "valid_days": valid_days,
            "releases": [dataclasses.asdict(known) for known in self.history],
        }
        atomic_write.write(self.folder / HISTORY, json.dumps(history, indent=1) + "\n")
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
    """Return what is wrong with the files that the index names."""
    found = []
    for release in (each for offered in index.tracks.values() for each in offered):
        files: tuple[Release | Delta, ...] = (release, *release.deltas)
        for file in files:
            try:
                data = (folder / file.file).read_bytes()
            except OSError as error:
                found.append(f"{file.file} of {release.version}: {error.strerror}")
                continue
            if hashlib.md5(data, usedforsecurity=False).hexdigest() != file.md5:
                found.append(f"{file.file} of {release.version} is damaged")
    return found


def _read(folder: Path, file: Path | None = None) -> bytes:
    try:
        return (file if file and file.is_file() else folder / NAME).read_bytes()
    except OSError as error:
        raise ChannelError(
            f"{folder} has no {NAME} ({error.strerror}): create one with `ivota channel init`"
        ) from None


def _history_json(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / HISTORY).read_bytes())
        return dict(found)
    except (OSError, ValueError) as error:
        raise ChannelError(
            f"{folder / HISTORY} cannot be read: restore it from a backup ({error})"
        ) from None


def _valid_days(folder: Path) -> int:
    return int(_history_json(folder)["valid_days"])


def history(folder: Path) -> list[Known]:
    """Return every release that a channel has published, oldest first. Raises ChannelError."""
    found = []
    try:
        for each in _history_json(folder)["releases"]:
            values = dict(each["release"])
            values["deltas"] = tuple(Delta(**delta) for delta in values["deltas"])
            found.append(Known(**{**each, "release": Release(**values)}))
    except (KeyError, TypeError) as error:
        raise ChannelError(f"{folder / HISTORY} is damaged: {error}") from None
    return found


def _expiry(valid_days: int) -> int | None:
    return int(time.time()) + valid_days * DAY_S if valid_days else None


def _check_share(share: int) -> None:
    if not 1 <= share <= 100:
        raise ChannelError(f"the share must be 1 to 100 percent, not {share}")
