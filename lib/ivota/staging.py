"""The first phase of an update: what of it is on flash, whose that is, and room for the rest."""

import binascii
import gc
import hashlib
import os
import time

try:
    import esp32
except ImportError:  # all ports but one
    esp32 = None

from micropython import const

from ivota import OtaError, once

_FAILED = const(-5)
_A_DAY = const(24)  # downloads from the first byte in `retry.rest_most_s`
_CHUNK = const(512)
_CHUNK_MOST = const(4096)  # a block
_FREE = const(32768)  # bytes of heap that are plenty
_FAT_BLOCK = const(4096)
_SAFE = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"


def step(job):
    """Open the target when it is time to."""
    client = job.client
    # A trial needs both bundles; what is pushed meanwhile waits for its end.
    if client.trial or job.deferred("download"):
        return False
    stem = client.directory + "/" + file_stem(job.push.version)
    if (client.state.active or "")[:-4] == stem:
        raise OtaError(_FAILED, "a firmware of this name runs")
    target = job.target = Target()
    if esp32 and not client.on_firmware:
        once("slots").find(target, stem, job.push)
    if target.kind == "firmware":
        open_target(target, stem, job.push, client.state.active, client.state.previous)
    job.fresh = not target.position
    job.rest_s(_wear_s(job))
    client.log("info", "download", offset=target.position, rest_ms=job.retry.left_ms())
    job.progress()
    job.phase = "transfer"
    return True


def _wear_s(job):
    """Seconds that a download from its first byte must wait: no pushes wear out the flash.

    Each is worth its share of a day, and at most a day's worth lies ahead of the clock; it counts
    from its first block on.
    """
    state = job.client.state
    day_s = int(job.client.config["retry"]["rest_most_s"])
    now = int(time.time())
    ahead = state.worn_until - now
    if not 0 < ahead <= day_s:
        ahead = 0  # long ago, or before the clock was set
    ahead += day_s // _A_DAY
    job.worn_until = now + ahead
    return max(ahead - day_s, 0) if job.fresh else 0


# Without methods, so that it does not keep a module in the heap.
class Target:
    """A firmware that is being downloaded: where it lies, and how far it is.

    `kind` names the module with what is done to it: firmware for a file, partition for an OTA
    slot; None while its first byte is yet to say. `phase` is what begins with a connection.
    """

    kind = "firmware"
    phase = "receive"
    slot = None  # the label of the partition
    file = None
    position = 0


def file_stem(version):
    """The name under which a version is kept; one that is not a safe file name is hashed."""
    name = version.encode()  # characters of the text would stay in the heap
    if 0 < len(name) <= 32 and name[0] != 46 and all(char in _SAFE for char in name):
        return version
    return binascii.hexlify(hashlib.sha256(name).digest()[:8]).decode()


def size_of(path):
    """Bytes in the file, -1 where there is none."""
    try:
        return os.stat(path)[6]
    except OSError:
        return -1


def identity(push):
    """What a checkpoint says of whose bytes these are."""
    return {"version": push.version, "md5sum": push.md5, "file_size": push.size}


def is_of(known, push):
    """Whether a checkpoint is this firmware's."""
    right = identity(push)
    return all(known.get(key) == right[key] for key in right)


def open_target(target, stem, push, keep=None, spare=None):
    """Make ready for `push`, in `stem`.bin, with `stem`.json beside it while it is unfinished.

    `target.position` is where its download goes on. `keep` is a path that is never removed,
    `spare` one that goes only when the room is needed. Raises OtaError(-5) when there is no
    room, OSError when the flash fails.
    """
    target.path = path = stem + ".bin"
    target.checkpoint = stem + ".json"
    target.size = push.size
    directory = stem.rpartition("/")[0]
    try:
        os.mkdir(directory)
    except OSError:
        pass
    known = once("jsonfile").load(target.checkpoint)
    length = size_of(path)
    # A whole file without a checkpoint was verified once: worth a look before a download.
    mine = length == push.size
    if known is not None:
        mine = "slot" not in known and is_of(known, push)
    if length > push.size or not mine:
        if known is not None or length >= 0:
            once("checkpoint").discard(target)
        known = None
    if known is None:
        make_room(target, directory, (keep, path), spare)
        known = dict(identity(push), position=0)
        once("jsonfile").save(target.checkpoint, known)
    target.etag = known.get("etag")
    length = max(size_of(path), 0)
    target.file = open(path, "r+b" if length else "w+b")
    target.file.seek(length)
    target.position = target.durable = length
    target.checked = 0
    target.digest = hashlib.md5()
    # For what comes in, and for what is digested: each call of a large one does more.
    try:
        target.buffer = bytearray(_CHUNK if gc.mem_free() < _FREE else _CHUNK_MOST)
    except MemoryError:  # there is room, but not in one piece
        target.buffer = bytearray(_CHUNK)
    target.chunk = len(target.buffer)
    # A name in capitals is the same name on FAT alone.
    target.fat = fat = size_of(stem + ".JSON") >= 0
    target.block_size = block_size = _FAT_BLOCK if fat else os.statvfs(directory)[0]
    # Of whole blocks there are at least so many; the pointers in n of them are 2 n less the
    # ones in n's binary digits.
    target.blocks = n = length // block_size
    target.end = n * block_size
    if n and not fat:
        n -= 1
        target.end -= 8 * n
        while n:
            target.end += (n & 1) * 4
            n >>= 1
    while target.end <= length and target.end < push.size:
        once("firmware").next_end(target)


def make_room(target, directory, kept, spare):
    """Remove what no one needs; OtaError(-5) when the firmware does not fit even so.

    `kept` are paths that stay, `spare` one that goes only when the room is needed.
    """
    clear(directory, kept + (spare,))
    if _lacks(target, directory) and spare and spare != target.path:
        once("jsonfile").remove(spare)
    lacks = _lacks(target, directory)
    if lacks:
        raise OtaError(_FAILED, "no room: %d KiB more are needed" % lacks)


def clear(directory, kept):
    """Remove what is not at one of these paths."""
    for name in os.listdir(directory):
        path = directory + "/" + name
        if path not in kept:
            try:
                os.remove(path)
            except OSError:
                pass  # a folder: not ours; whether it stands in the way is seen later


def _lacks(target, directory):
    stat = os.statvfs(directory)
    missing = target.size - max(size_of(target.path), 0)
    if not missing:
        return 0  # it is whole: some of what was kept free is in use by now
    # One block in 500 for directories, and some for the small files that are replaced.
    missing = missing // stat[0] + 4 - stat[3]
    missing += target.size // (stat[0] * 500)
    return missing * (stat[0] // 512) // 2 if missing > 0 else 0
