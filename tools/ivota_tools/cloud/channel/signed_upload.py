"""Accept a channel that was signed elsewhere: first its files, then its index.

For this, the cloud needs no private key. Anyone who is allowed to upload can only upload what the
owner of one of the channel's keys has signed, and never an older index.
"""

from __future__ import annotations

import time

from ...channel.index import NAME, ChannelError, Index, files_of, verify
from ...common.mapped_file import digests
from ...firmware.bundle import ReleaseError
from ...firmware.signed_file import verify as verify_firmware
from ..accounts import audit_log
from ..store.database import Database
from ..store.firmware_store import FirmwareError, Upload
from .channel_files import ServedChannel

NAMED_MOST = 5  # files in a message


def missing(channel: ServedChannel, data: bytes) -> list[str]:
    """Return the files that the cloud lacks for this index. Raises FirmwareError if it is
    rejected.

    The others are kept for a day, until `accept` is called.
    """
    index = _check(channel, data)
    lacking = channel.missing(index)
    channel.keep(file.file for file in files_of(index) if file.file not in lacking)
    return lacking


def store(channel: ServedChannel, name: str, upload: Upload) -> None:
    """Keep an uploaded file. Raises FirmwareError if its name or its signature is wrong."""
    _expect_mirror(channel)
    upload.flush()
    path = channel.path(name)
    if path is None or name != f"{upload.md5}.bin":
        raise FirmwareError(422, f"a file with these contents must be named {upload.md5}.bin")
    try:
        verify_firmware(upload.path.read_bytes(), channel.keys)
    except ReleaseError as error:
        raise FirmwareError(422, f"the channel of {channel.product}: {name}: {error}") from None
    upload.keep_as(path)


def accept(channel: ServedChannel, database: Database, data: bytes, who: str) -> Index:
    """Serve this index. Raises FirmwareError if the index or one of its files is rejected."""
    index = _check(channel, data)
    _expect_files(channel, index)
    with database.writing() as session:  # one writer at a time, in any process
        _check(channel, data)
        _expect_present(channel, index)
        audit_log.note(
            session, who, "channel upload", channel.product, serial=index.serial,
            versions={track: [each.version for each in offered]
                      for track, offered in index.tracks.items()},
        )  # fmt: skip
        session.flush()
        channel.replace(data)
    return index


def _expect_mirror(channel: ServedChannel) -> None:
    if channel.signing:
        raise FirmwareError(
            409,
            f"the cloud itself publishes in the channel of {channel.product}: use `ivota channel "
            "cloud offer`, or start the cloud without --channel-key to mirror a channel",
        )


def _check(channel: ServedChannel, data: bytes) -> Index:
    _expect_mirror(channel)
    try:
        index = verify(data, channel.keys)
    except ChannelError as error:
        raise FirmwareError(422, str(error)) from None
    if index.product != channel.product:
        raise FirmwareError(
            422, f"{NAME} is the index of {index.product}'s channel, not of {channel.product}'s"
        )
    if index.expires is not None and index.expires <= time.time():
        raise FirmwareError(422, f"{NAME} has expired: run `ivota channel refresh`")
    for file in files_of(index):
        if file.file != f"{file.md5}.bin" or channel.path(file.file) is None:
            raise FirmwareError(
                422, f"{NAME} contains the file name {file.file!r}, which must be {file.md5}.bin"
            )
    serial = channel.serial()
    if index.serial < serial:
        raise FirmwareError(
            409,
            f"{NAME} has serial {index.serial}, but the cloud serves serial {serial}: boards "
            "would reject it. Upload the newest copy of the folder, or run "
            f"`ivota channel refresh --above {serial}`",
        )
    if index.serial == serial and _served(channel) not in (None, data):
        raise FirmwareError(
            409,
            f"the cloud already serves a different index with serial {serial}: run "
            "`ivota channel refresh` on the correct copy, and upload it again",
        )
    return index


def _served(channel: ServedChannel) -> bytes | None:
    """Return the index that boards get, or None if it is damaged, or there is none."""
    try:
        served = channel.served()
    except ChannelError:
        return None
    return served.data if served else None


def _expect_files(channel: ServedChannel, index: Index) -> None:
    """Read each file once more, because the disk may have damaged it since its upload."""
    _expect_present(channel, index)
    channel.keep(file.file for file in files_of(index))
    for file in files_of(index):
        path = channel.folder / file.file
        if digests(path).md5 != file.md5:
            path.unlink(missing_ok=True)
            raise FirmwareError(409, f"{file.file} is damaged in the cloud: upload it again")


def _expect_present(channel: ServedChannel, index: Index) -> None:
    if lacking := channel.missing(index):
        more = f" and {len(lacking) - NAMED_MOST} more" if len(lacking) > NAMED_MOST else ""
        names = ", ".join(lacking[:NAMED_MOST])
        raise FirmwareError(409, f"the cloud lacks {names}{more}: upload the files first")
