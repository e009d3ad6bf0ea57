"""Choose the inactive OTA slot for an ESP32 image. Loaded only if there is an `esp32`."""

import hashlib
import io

from esp32 import Partition
from micropython import const

from ivota import OtaError, once

_FAILED = const(-5)
_CHUNK = const(512)
_BLOCK = const(4096)


def next_slot():
    """Return the partition for the next image; None on a board without a slot for it.

    With a factory image and one slot, ESP-IDF returns that slot even while it is running.
    """
    running = Partition(Partition.RUNNING)
    try:
        slot = running.get_next_update()
    except OSError:  # ENOENT: there is no OTA slot
        return None
    return slot if slot.info()[4] != running.info()[4] else None


def find(target, stem, push):
    """Open the slot if the download of `push` resumes there; leave a download in a file alone.

    For a new download, the first byte decides, so `target.kind` is None. The same applies to a
    board without slots, which rejects an image by its first byte.
    """
    download_target = once("download_target")
    firmware_files = once("firmware_files")
    # First, so that a later failure deletes its files.
    firmware_files.place(target, stem, push.size)
    path = target.path
    slot = next_slot()
    known = once("json_file").load(target.checkpoint) or {}
    mine = download_target.is_of(known, push)
    if mine and slot and known.get("slot") == slot.info()[4]:
        open_slot(target, slot, known)
    elif not (mine or firmware_files.size_of(path) == push.size) or _first(path) in (
        b"",
        once("firmware_kind").IMAGE,
    ):
        target.kind = None
        target.phase = "slot_or_file"
        target.etag = None
        target.buffer = bytearray(1)
        target.head = b""


def _first(path):
    try:
        with open(path, "rb") as file:
            return file.read(1)
    except OSError:
        return b""


def fits(slot, size):
    """Raise OtaError(-5) for an image of this size that does not fit."""
    most = slot.info()[3]
    if size > most:
        raise OtaError(_FAILED, "not enough space: a slot has %d KiB" % (most >> 10))


def begin(target, push, kept):
    """Prepare the slot for the first byte; `kept` are paths that must not be deleted.

    Raises OtaError(-5) if the image does not fit.
    """
    slot = next_slot()
    fits(slot, push.size)
    # No checkpoint about this slot is true any more.
    once("firmware_files").clear(target.path.rpartition("/")[0], kept)
    known = dict(once("download_target").identity(push), position=0, slot=slot.info()[4])
    once("json_file").save(target.checkpoint, known)
    open_slot(target, slot, known)


def open_slot(target, slot, known):
    """Resume at the checkpoint's position; a partial block is erased and written again."""
    target.kind = "slot_writer"
    target.phase = "block_receiver"
    target.part = slot
    target.slot = known["slot"]
    target.path = target.checkpoint  # all of it that is in the file system
    target.etag = known.get("etag")
    size = target.size
    position = known.get("position")
    if type(position) is not int or not 0 <= position <= size:
        position = 0
    if position < size:
        position -= position % _BLOCK
    target.position = target.durable = position
    target.end = min(position - position % _BLOCK + _BLOCK, size)
    target.checked = 0
    target.digest = hashlib.md5()
    target.buffer = bytearray(_CHUNK)
    target.gathered = io.BytesIO(_CHUNK)  # collects shorter pieces
