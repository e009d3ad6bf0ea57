"""Build the firmware from a patch: a delta, or compressed firmware.

The result is written next to the patch, or into the inactive slot. The patch stays until the
result is confirmed, so it is never downloaded again after a power cut.
"""

import hashlib
import io
import os
from binascii import hexlify

from deflate import RAW, DeflateIO
from micropython import const

from ivota import OtaError, once
from ivota.push import Push

_FAILED = const(-5)
_CHUNK = const(512)
_CHUNKS = const(128)  # per step: 64 KiB are read and digested in less time than an erase takes
_BLOCK = const(4096)


def step(job):
    """Do the next piece; after the last one, the result is handled like any firmware."""
    if not job.stream:
        # `job.hang_up` closes the generator, and everything that it has open.
        job.stream = _work(job)
    for _ in job.stream:
        return True
    job.stream = None
    job.phase = "owner_signature" if job.client.config["keys"] else "installation"
    return True


def _work(job):
    """Compare the base, write the result, and digest what is on flash, in bounded steps.

    Raises OtaError(-5) for an invalid patch, before anything is written if possible; OSError if
    the flash fails.
    """
    client = job.client
    push = job.firmware
    with open(push.path, "rb") as file:
        patch_header = once("patch_header")
        header = patch_header.parse(file.read(patch_header.MOST))
        patch_base = once("patch_base")
        slot = patch_base.next_slot(header.kind == patch_header.IMAGE)
        del patch_header
        md5 = hexlify(header.result_md5).decode()
        why = client.state.rejected and once("failure_log").reason(client.state, md5, push.version)
        if why:
            raise OtaError(_FAILED, why, reject=True)
        client.log("info", "expand", base=header.base_version, size=header.result_size)
        base = patch_base.open_base(client, header, slot)
        target = None
        try:
            yield from patch_base.compare(base, header)
            begin = patch_base.begin_slot if slot else patch_base.begin
            # From littlefs 2.11.3 on, statvfs counts an open file again for each handle while
            # another one is closed; and modules are read from the bundle that is the base.
            if base:
                base.close()
            target = begin(header, push.path, client.state, slot)
            base = patch_base.open_base(client, header, slot)
            del patch_base, begin  # leaves the heap before the result is built
            target.digest = hashlib.sha256()
            file.seek(header.size)
            stream = DeflateIO(file, RAW, header.window)
            pieces = once("delta_records").pieces(stream, base, header.base_size, target.size)
            yield from _write(target, pieces)
            if target.digest.digest() != header.result_sha256:
                raise OtaError(_FAILED, "patch: the result is not what it should be")
            job.firmware = Push(push.version, push.url, md5, target.size, push.echo)
            job.firmware.path = target.path
            job.firmware.slot = target.slot
            job.firmware.payload_size = target.size
            client.log("info", "expanded", size=target.size)
        finally:
            if base:
                base.close()
            if target:
                _end(target, job.firmware is push)


def _write(target, pieces):
    """Write the result, one block per step."""
    verbs = once(target.kind)
    take = target.file.write if target.file else _to_slot(target, verbs)
    buffer = next(pieces)
    room = target.end
    for n in pieces:
        at = 0
        while n >= room > 0:  # the piece ends a block, or extends beyond it
            take(buffer, at, room)
            target.position = target.end
            if target.file:
                verbs.end_block(target)
            else:  # without a checkpoint, because the patch has that one
                target.end = min(target.position + _BLOCK, target.size)
            verbs.check(target, _BLOCK)
            at += room
            n -= room
            room = target.end - target.position
            yield
        if n:
            take(buffer, at, n)
            room -= n
    while not verbs.check(target, _CHUNK * _CHUNKS):
        yield


def _to_slot(target, verbs):
    """Write into a slot like `file.write` into a file."""
    raw = io.BytesIO()

    def write(buffer, at, n):
        raw.seek(0)
        raw.write(buffer, at, n)
        raw.seek(0)
        verbs.fill(target, raw, n)

    return write


def _end(target, failed):
    """Close; if the result is not valid, delete it so that it can't start."""
    if target.slot:
        if failed:
            once("slot_reader").forget()
        return
    # Without another module: there may be no free heap.
    try:
        target.file.close()
    finally:
        if failed:
            try:
                os.remove(target.path)
            except OSError:
                pass
