"""Open the target: find out what is on flash, whose data it is, and where to resume."""

import hashlib
import time

try:
    import esp32
except ImportError:  # all ports but one
    esp32 = None

from micropython import const

import ivota
from ivota import OtaError, once

_FAILED = const(-5)
_A_DAY = const(24)  # maximum number of full downloads in `retry.rest_most_s`
_CHUNK = const(512)
_CHUNK_MOST = const(4096)  # a block

_files = once("firmware_files")  # leaves the heap with this module


def step(job):
    """Open the target when it is due."""
    client = job.client
    # A trial needs both bundles; a push waits for its end.
    if client.trial:
        job.postponed("a trial is still running")
        return False
    if job.deferred("download"):
        return False
    stem = client.directory + "/" + _files.file_stem(job.push.version)
    if _files.stem_of(client.state.active or "") == stem:
        raise OtaError(_FAILED, "the running version has the same name")
    known = once("json_file").load(stem + ".json")
    if not (known and is_of(known, job.push)):
        rest_s = _wear_s(client)
        if rest_s:
            job.rest_s(rest_s)
            client.log("info", "rest", again_ms=job.retry.left_ms())
            job.postponed("in back-off: %d updates were started within a day" % _A_DAY)
            return False
    target = job.target = Target()
    if esp32 and not client.on_firmware:
        once("ota_slots").find(target, stem, job.push)
    if target.kind == "file_writer":
        open_target(target, stem, job.push, client.state.active, client.state.previous)
    client.log("info", "download", offset=target.position)
    job.progress()
    job.phase = "http_request"
    return True


def _wear_s(client):
    """Return how many seconds an update must wait; 0 starts it, and counts it.

    Pushes must not wear out the flash, even if they end before the first byte. A day allows a
    limited number of downloads, which may all start at once.
    """
    state = client.state
    day_s = int(client.config["retry"]["rest_most_s"])
    now = int(time.time())
    ahead = state.worn_until - now
    if not 0 < ahead <= day_s:
        ahead = 0  # long ago, or before the clock was set
    ahead += day_s // _A_DAY
    if ahead <= day_s:
        state.worn_until = now + ahead
        return 0
    return ahead - day_s


# Without methods, so that it does not keep a module in the heap.
class Target:
    """Firmware that is being downloaded or built from a patch: its place and progress.

    Each field, and the modules that set it. Opening a target sets all fields of its kind:
    `open_target` here and `patch_base` for a file, `ota_slots` for an OTA slot.

    kind: the module with its functions, file_writer or slot_writer; None until its first
        bytes decide (download_target, ota_slots, slot_or_file)
    phase: what begins with a connection: block_receiver, or slot_or_file for those bytes
        (download_target, ota_slots, slot_or_file)
    path: the file; for a slot, its checkpoint, its only file (firmware_files,
        ota_slots, patch_base)
    checkpoint: the path of the checkpoint (firmware_files)
    size: bytes of the whole firmware (firmware_files)
    etag: the server's ETag of these bytes, or None (download_target, ota_slots, checkpoint)
    position: received bytes (download_target, ota_slots, file_writer, slot_writer, slot_or_file,
        patcher)
    durable: how many of them survive a power cut (download_target, ota_slots, patch_base,
        file_writer, slot_writer)
    checked: how many of those have been digested (download_target, ota_slots, patch_base,
        file_writer, slot_writer)
    digest: of all bytes: MD5 of a download, SHA-256 of a patch's result (download_target,
        ota_slots, patcher)
    end: the position up to which to fill before `end_block` (download_target, ota_slots,
        patch_base, file_writer, slot_writer, patcher)
    buffer: for received and for digested data (download_target, ota_slots, patch_base)

    Only for a file, None or missing otherwise:

    file: open for reading and writing until `checkpoint.close` (download_target, patch_base,
        checkpoint)
    chunk: bytes in the buffer (download_target, patch_base)
    fat: whether it is on FAT (firmware_files)
    block_size: bytes in a block of the file system (firmware_files)
    blocks: how many are full (download_target, patch_base, file_writer)

    Only for a slot:

    head: data received while `kind` is None (ota_slots, slot_or_file)
    slot: the label of the partition (download_target, ota_slots)
    part: the partition (ota_slots)
    gathered: a BytesIO with the data of the next chunk (ota_slots)
    """

    kind = "file_writer"
    phase = "block_receiver"
    slot = None
    file = None
    position = 0


def identity(push):
    """Return the keys that identify the firmware of a checkpoint."""
    return {"version": push.version, "md5sum": push.md5, "file_size": push.size}


def is_of(known, push):
    """Return whether a checkpoint belongs to this firmware."""
    right = identity(push)
    return all(known.get(key) == right[key] for key in right)


def open_target(target, stem, push, keep=None, spare=None):
    """Open `stem`.bin for `push`, with `stem`.json next to it until it is complete.

    `target.position` is where the download resumes. `keep` is a path that is never deleted,
    `spare` one that is deleted if its room is needed. Raises OtaError(-5) if there is no room,
    OSError if the flash fails.
    """
    directory = _files.place(target, stem, push.size)
    path = target.path
    known = once("json_file").load(target.checkpoint)
    length = _files.size_of(path)
    # A complete file without a checkpoint was verified once: check it before downloading.
    mine = length == push.size
    if known is not None:
        mine = "slot" not in known and is_of(known, push)
    if length > push.size or not mine:
        if known is not None or length >= 0:
            once("checkpoint").discard(target)
        known = None
    if known is None:
        _files.make_room(target, directory, (keep, path), spare)
        known = dict(identity(push), position=0)
        once("json_file").save(target.checkpoint, known)
    target.etag = known.get("etag")
    length = max(_files.size_of(path), 0)
    target.file = open(path, (b"r+b" if length else b"w+b").decode())
    target.file.seek(length)
    target.position = target.durable = length
    target.checked = 0
    target.digest = hashlib.md5()
    # For received data and for the digest: each call with a large buffer does more.
    try:
        target.buffer = bytearray(_CHUNK_MOST if ivota.roomy else _CHUNK)
    except MemoryError:  # there is enough memory, but not in one piece
        target.buffer = bytearray(_CHUNK)
    target.chunk = len(target.buffer)
    _files.set_blocks(target, stem)
    block_size = target.block_size
    # The minimum number of whole blocks; the pointers in n of them are 2 n minus the ones in n's
    # binary digits.
    target.blocks = n = length // block_size
    target.end = n * block_size
    if n and not target.fat:
        n -= 1
        target.end -= 8 * n
        while n:
            target.end += (n & 1) * 4
            n >>= 1
    while target.end <= length and target.end < push.size:
        once("file_writer").next_end(target)
