"""Start a download when it is due, or resume the one whose bytes are on flash."""

import hashlib
import time

from micropython import const

import ivota
from ivota import OtaError, once

_FAILED = const(-5)
_A_DAY = const(24)  # maximum number of full downloads in `retry.rest_most_s`
_CHUNK = const(512)
_CHUNK_MOST = const(4096)  # a block

firmware_folder = once("firmware_folder")  # leaves the heap with this module


def step(job):
    """Open the target when the download is due, unless the first bytes must choose it."""
    client = job.client
    push = job.push
    # A trial needs both bundles; a push waits for its end.
    if client.trial:
        job.report_wait("a trial is still running")
        return False
    if job.must_wait("download"):
        return False
    stem = client.directory + "/" + firmware_folder.file_stem(push.version)
    if firmware_folder.stem_of(client.state.active or "") == stem:
        raise OtaError(_FAILED, "the active firmware was installed as this version")
    target = firmware_folder.prepare(stem, push.size)
    checkpoint = once("json_file").load(target.checkpoint)
    if not (checkpoint and matches(checkpoint, push)):
        rest_s = _wear_s(client)
        if rest_s:
            job.rest_s(rest_s)
            client.log("info", "rest", again_ms=job.retry.left_ms())
            job.report_wait("in back-off: %d updates were started within a day" % _A_DAY)
            return False
    job.target = target  # whatever fails from here on discards it
    opened = None
    if not client.on_firmware:
        opened = _find_slot(target, push)
    if not opened:
        opened = open_file(target, push, client.state.active, client.state.previous)
    job.target = target = opened
    client.log("info", "download", offset=target.position)
    job.progress()
    job.enter("http_request")
    return True


def _find_slot(target, push):
    """Return `slot_finder.find` on an ESP32; None on other boards, which have no slots."""
    try:
        import esp32  # noqa: F401  without it, `slot_finder` can't be imported
    except ImportError:
        return None
    return once("slot_finder").find(target, push)


def _wear_s(client):
    """Return how many seconds an update must wait; 0 counts it, because it starts now.

    Pushes must not wear out the flash, even if they end before the first byte. A day allows a
    limited number of downloads, which may all start at once.
    """
    state = client.state
    day_s = int(client.config["retry"]["rest_most_s"])
    now = int(time.time())
    ahead = state.worn_until - now
    if not 0 < ahead <= day_s:
        ahead = 0  # the last download was long ago, or before the clock was set
    ahead += day_s // _A_DAY
    if ahead <= day_s:
        state.worn_until = now + ahead
        return 0
    return ahead - day_s


def identity(push):
    """Return the keys with which a checkpoint identifies its firmware."""
    return {"version": push.version, "md5sum": push.md5, "file_size": push.size}


def matches(checkpoint, push):
    """Return whether what was read from a checkpoint belongs to this firmware."""
    right = identity(push)
    return all(checkpoint.get(key) == right[key] for key in right)


def open_file(target, push, keep=None, spare=None):
    """Open the file of `target` for `push`, and return `target`, which resumes what is there.

    Until the file is complete, a checkpoint says to which firmware its bytes belong.

    `keep` is a path that is never deleted, `spare` one that is deleted if its room is needed.
    Raises OtaError(-5) if there is no room, OSError if the flash fails.
    """
    path = target.path
    checkpoint = once("json_file").load(target.checkpoint)
    length = firmware_folder.size_of(path)
    # A complete file without a checkpoint was verified once: check it before downloading.
    ours = length == push.size
    if checkpoint is not None:
        ours = "slot" not in checkpoint and matches(checkpoint, push)
    if length > push.size or not ours:
        if checkpoint is not None or length >= 0:
            target.discard()
        checkpoint = None
    if checkpoint is None:
        firmware_folder.make_room(path, push.size, (keep, path), spare)
        checkpoint = dict(identity(push), position=0)
        once("json_file").save(target.checkpoint, checkpoint)
    target.open(
        hashlib.md5(),
        firmware_folder.block_layout(target.checkpoint),
        _CHUNK_MOST if ivota.roomy else _CHUNK,
        max(firmware_folder.size_of(path), 0),
        checkpoint.get("etag"),
    )
    return target
