"""Find the OTA slot for an ESP32 image, and open it; only for boards with a module `esp32`."""

import hashlib

from esp32 import Partition
from micropython import const

from ivota import OtaError, once

_FAILED = const(-5)


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


def find(target, push):
    """Return the `SlotTarget` if the download of `push` resumes in the slot; None if it resumes in
    a file.

    `target` is the `FileTarget`, not open. It is returned if nothing was downloaded yet:
    the first byte will decide, and a board without slots rejects an image by this byte.
    """
    download_preparation = once("download_preparation")
    slot = next_slot()
    checkpoint = once("json_file").load(target.checkpoint) or {}
    ours = download_preparation.matches(checkpoint, push)
    if ours and slot and checkpoint.get("slot") == slot.info()[4]:
        return open_slot(target, slot, checkpoint)
    if not (ours or once("firmware_folder").size_of(target.path) == push.size):
        return target
    return target if _first(target.path) in (b"", once("firmware_kind").IMAGE) else None


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
    """Return the `SlotTarget` for a new download; `kept` are paths that must not be deleted.

    Raises OtaError(-5) if the image does not fit.
    """
    slot = next_slot()
    fits(slot, push.size)
    # Older checkpoints are no longer true about this slot.
    once("firmware_folder").clear(target.path, kept)
    checkpoint = dict(once("download_preparation").identity(push), position=0, slot=slot.info()[4])
    once("json_file").save(target.checkpoint, checkpoint)
    return open_slot(target, slot, checkpoint)


def open_slot(target, slot, checkpoint):
    """Return the `SlotTarget` that resumes at the checkpoint's position, if that is possible."""
    position = checkpoint.get("position")
    if type(position) is not int or not 0 <= position <= target.size:
        position = 0
    return once("slot_target").SlotTarget(
        target.checkpoint,  # all of it that is in the file system
        target.checkpoint,
        target.size,
        hashlib.md5(),
        slot,
        position,
        checkpoint.get("etag"),
    )
