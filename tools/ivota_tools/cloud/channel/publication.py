"""Fill a channel from the cloud's firmware, and sign its index with the key of --channel-key.

The cloud never signs firmware: it offers only what the owner of the boards' keys has signed, with
the signed deltas that were uploaded for it. The serial number is at least the Unix time. So it
rises even if the cloud was restored from an older backup.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from ...channel import tracks
from ...channel.index import ChannelError, Delta, Index, Release
from ...firmware.bundle import ReleaseError
from ...firmware.signed_file import SignedHeader, verify
from ..accounts import audit_log
from ..store.database import Database
from ..store.file_store import FileStore
from ..store.firmware_store import FirmwareError, by_id
from ..store.models import Firmware
from .channel_files import Served, ServedChannel

log = logging.getLogger("ivota.cloud")

VALID_S = 30 * 86400  # after which boards ignore the index, if the cloud no longer signs it
SIGN_AGAIN_S = 60.0  # between two tries to sign an index again

Change = Callable[[Index], Index]


def offer(
    channel: ServedChannel,
    database: Database,
    store: FileStore,
    firmware_id: int,
    who: str,
    *,
    track: str = "stable",
    share: int | None = None,
    not_before: int | None = None,
    deltas: int = 2,
    serial: int | None = None,
) -> Index:
    """Offer a firmware in a track, or change the share of a current offer.

    `share` is a percentage of boards, by default the percentage of the current offer, or
    100 for a new offer.
    `not_before` is a Unix time, by default the time of the current offer; a time in the past
    removes this limit.
    `deltas` is the largest number of deltas, those from the latest uploads first. An offer that
    would change nothing does nothing. Raises FirmwareError; with `serial`, also if the channel
    has another serial number (0: none).
    """
    _expect_key(channel)
    with database.reading() as session:
        firmware = by_id(session, firmware_id)
        if firmware.whole_id is not None:
            raise FirmwareError(
                409,
                f"firmware {firmware_id} is a patch: offer its result, firmware "
                f"{firmware.whole_id}",
            )
        query = select(Firmware).where(
            Firmware.whole_id == firmware.id,
            Firmware.base_version != "",
            Firmware.deleted_at.is_(None),
        )
        patches = session.scalars(query.order_by(Firmware.id.desc())).all()
    header = _header(channel, store, firmware)
    found: dict[str, Delta] = {}
    for patch in patches:
        base = patch.base_version or ""
        if base not in found and len(found) < deltas and _add_delta(channel, store, patch):
            found[base] = Delta(base, f"{patch.md5}.bin", patch.size, patch.md5)
    new = Release(
        version=firmware.version,
        target=header.target,
        sequence=header.sequence,
        file=f"{firmware.md5}.bin",
        size=firmware.size,
        md5=firmware.md5,
        deltas=tuple(found.values()),
    )

    def add(index: Index) -> Index:
        tracks.check_share(new.share)
        for old in index.tracks.get(track, ()):
            if old.target != new.target:
                continue
            if old.md5 == new.md5:
                index = tracks.remove(index, track, old)
            elif old.sequence >= new.sequence:
                clash = (
                    f"the track {track} offers {old.version} with sequence {old.sequence}, so "
                    f"boards would reject {new.version} with sequence {new.sequence}"
                )
                raise FirmwareError(
                    409,
                    f"{clash}: sign {new.version} again with `ivota release --resign` and a "
                    "higher --sequence",
                    f"{clash}: on the Firmware page, upload {new.version} signed with a higher "
                    "sequence",
                )
        return tracks.add(index, track, new)[0]

    with database.writing() as session:
        by_id(session, firmware_id)  # it may have been deleted meanwhile
        old = _offered(channel, track, new) or new
        new = dataclasses.replace(
            new,
            share=old.share if share is None else share,
            not_before=old.not_before if not_before is None else _future(not_before),
        )
        if same := _unchanged(channel, add):
            return same
        if serial is not None and serial != channel.serial():
            raise FirmwareError(
                409,
                f"the channel of {channel.product} has changed since the page was loaded: check "
                "what it offers now, and try again",
            )
        audit_log.note(session, who, "channel offer", channel.product, version=new.version,
                       track=track, share=new.share, not_before=new.not_before)  # fmt: skip
        session.flush()
        return _change(channel, add)


def end(
    channel: ServedChannel, database: Database, version: str, who: str, *, track: str = "stable"
) -> Index:
    """Stop offering a version. Boards that run it keep it. Raises FirmwareError."""
    _expect_key(channel)

    def remove(index: Index) -> Index:
        return tracks.remove(index, track, tracks.offered(index, track, version))

    with database.writing() as session:
        audit_log.note(session, who, "channel end", channel.product, version=version, track=track)
        session.flush()
        return _change(channel, remove)


def current(channel: ServedChannel, database: Database) -> Served | None:
    """Return the index to serve; sign it again if half of its validity is over.

    If the cloud mirrored this channel before it had a key, it signs the index immediately: boards
    now trust the cloud's key. Raises ChannelError if the index is damaged.
    """
    served = channel.served()
    if channel.signing is None or served is None or not _is_due(served):
        return served
    if time.monotonic() < channel.sign_after:
        return served
    try:
        with database.writing() as session:
            served = channel.served()  # another process may have been faster
            if served is None or not _is_due(served):
                return served
            index = _change(channel, lambda index: index)
            audit_log.note(
                session, audit_log.ENGINE, "channel refresh", channel.product, serial=index.serial
            )
    except (FirmwareError, SQLAlchemyError) as error:  # the old index may still be valid
        channel.sign_after = (
            time.monotonic() + SIGN_AGAIN_S
        )  # anybody can ask, as often as they like
        whose = "" if isinstance(error, FirmwareError) else f"the channel of {channel.product}: "
        log.warning("cannot renew the signature of a channel: %s%s", whose, error)
    return channel.served()


def _is_due(served: Served) -> bool:
    expires = served.index.expires
    return not served.ours or expires is None or expires - time.time() < VALID_S / 2


def _offered(channel: ServedChannel, track: str, release: Release) -> Release | None:
    """Return the track's current offer of the same firmware to the same boards."""
    try:
        served = channel.served()
    except ChannelError:  # `_change` explains it
        return None
    for old in served.index.tracks.get(track, ()) if served else ():
        if (old.md5, old.target) == (release.md5, release.target):
            return old
    return None


def _future(moment: int) -> int | None:
    return moment if moment > time.time() else None


def _unchanged(channel: ServedChannel, change: Change) -> Index | None:
    """Return the index if the change would leave all its offers as they are."""
    try:
        served = channel.served()
        if served and served.ours and change(served.index).tracks == served.index.tracks:
            return served.index
    except ChannelError:  # `_change` explains it
        pass
    return None


def _change(channel: ServedChannel, change: Change) -> Index:
    """Sign and serve a changed index; the caller holds the lock. Raises FirmwareError."""
    assert channel.signing
    now = int(time.time())
    try:
        served = channel.served()
        index = change(served.index if served else Index(channel.product))
        index = dataclasses.replace(
            index, serial=max(channel.serial() + 1, now), expires=now + VALID_S
        )
        data = index.signed(channel.signing)
    except ChannelError as error:
        raise FirmwareError(409, f"the channel of {channel.product}: {error}") from None
    if lacking := channel.missing(index):
        version = next(
            each.version for offered in index.tracks.values() for each in offered
            if lacking[0] in (each.file, *(delta.file for delta in each.deltas))
        )  # fmt: skip
        raise FirmwareError(
            409,
            f"the channel of {channel.product} lacks {lacking[0]}, a file of version {version}: "
            f"stop offering {version} first",
        )
    channel.replace(data)
    return index


def _expect_key(channel: ServedChannel) -> None:
    if channel.signing is None:
        raise FirmwareError(
            409,
            f"the channel of {channel.product} is a mirror: either publish with `ivota channel` "
            "and run `ivota channel cloud upload`, or start the cloud with --channel-key",
            f"the channel of {channel.product} is a mirror: only its owner can change what it "
            "offers",
        )


def _header(channel: ServedChannel, store: FileStore, firmware: Firmware) -> SignedHeader:
    """Add a firmware to the channel's files, and return what the owner has signed."""
    try:
        with store.local(firmware.sha256) as path:
            header = verify(path.read_bytes(), channel.keys).header
            if header.version != firmware.version:
                raise FirmwareError(
                    409,
                    f"{firmware.version} is signed as {header.version}: upload a file that is "
                    f"signed as {firmware.version}",
                )
            channel.link(path, firmware.md5)
    except OSError as error:
        raise FirmwareError(
            409, f"the file of {firmware.version} cannot be read: {error.strerror}"
        ) from None
    except ReleaseError as error:
        cannot = f"{firmware.version} cannot be in the channel of {channel.product}: {error}"
        raise FirmwareError(
            409,
            f"{cannot}. Sign {firmware.version} with `ivota release --key`, and upload it",
            f"{cannot}. On the Firmware page, upload a file that is signed with the owner's key",
        ) from None
    return header


def _add_delta(channel: ServedChannel, store: FileStore, patch: Firmware) -> bool:
    """Add a delta to the channel's files, if the owner has signed it."""
    try:
        with store.local(patch.sha256) as path:
            verify(path.read_bytes(), channel.keys)
            channel.link(path, patch.md5)
    except (OSError, ReleaseError):
        return False
    return True
