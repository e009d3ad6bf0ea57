"""Build the firmware from a patch: a delta, or compressed firmware.

The result is written next to the patch, or into the inactive slot. The patch stays until the
result is confirmed, so it is never downloaded again after a power cut.
"""

import os
from binascii import hexlify

from deflate import RAW, DeflateIO
from micropython import const

from ivota import OtaError, once
from ivota.firmware_offer import Push

_FAILED = const(-5)
_DIGEST = const(65536)  # bytes of flash per step: reading them takes less than an erase
_BLOCK = const(4096)


def step(job):
    """Do the next piece; after the last one, the next phase handles the result like a download."""
    if not job.work:
        job.work = _build(job)  # `job.release` closes it, and what it has open
    for _ in job.work:
        return True
    job.work = None
    job.enter("owner_signature" if job.client.config["keys"] else "verification")
    return True


def _build(job):
    """Compare the base, write the result, and digest what is on flash, in bounded steps.

    Raises OtaError(-5) for an invalid patch, before anything is written if possible; OSError if
    the flash fails.
    """
    client = job.client
    push = job.firmware
    with open(push.path, "rb") as file:
        patch_header = once("patch_header")
        header = patch_header.parse(file.read(patch_header.MOST))
        patch_preparation = once("patch_preparation")
        slot = patch_preparation.next_slot(header.kind == patch_header.IMAGE)
        del patch_header
        md5 = hexlify(header.result_md5).decode()
        state = client.state
        why = state.rejected and once("failure_record").reason(state, md5, push.version)
        if why:
            raise OtaError(_FAILED, why, reject=True)
        client.log("info", "expand", base=header.base_version, size=header.result_size)
        base = patch_preparation.open_base(client, header, slot)
        target = None
        try:
            yield from patch_preparation.compare(base, header)
            begin = patch_preparation.begin_slot if slot else patch_preparation.begin_file
            # From littlefs 2.11.3 on, statvfs counts an open file again for each handle while
            # another one is closed; and modules are read from the bundle that is the base.
            if base:
                base.close()
            target = begin(header, push.path, client.state, slot)
            base = patch_preparation.open_base(client, header, slot)
            del patch_preparation, begin  # leaves the heap before the result is built
            file.seek(header.size)
            stream = DeflateIO(file, RAW, header.window)
            pieces = once("delta_decoder").pieces(stream, base, header.base_size, target.size)
            yield from _write(target, pieces)
            if target.digest.digest() != header.result_sha256:
                raise OtaError(_FAILED, "patch: the result has the wrong SHA-256")
            job.firmware = Push(push.version, push.url, md5, target.size, push.echo)
            job.firmware.path = target.path
            job.firmware.slot = target.slot
            job.firmware.payload_size = target.size
            client.log("info", "expanded", size=target.size)
        finally:
            if base:
                base.close()
            if target:
                _close(target, job.firmware is push)


def _write(target, pieces):
    """Write the result, one block per step, and digest it."""
    buffer = next(pieces)
    write = target.writer()
    room = target.end
    for n in pieces:
        at = 0
        while n >= room > 0:  # the piece ends a block, or extends beyond it
            write(buffer, at, room)
            target.end_block()
            target.digest_more(_BLOCK)
            at += room
            n -= room
            room = target.end - target.position
            yield
        if n:
            write(buffer, at, n)
            room -= n
    while not target.digest_more(_DIGEST):
        yield


def _close(target, failed):
    """Close the result; if it is not valid, delete it so that it can't start."""
    if target.slot:
        if failed:
            once("slot_reader").invalidate()
        return
    # Without another module: there may be no free heap.
    try:
        target.close()
    finally:
        if failed:
            try:
                os.remove(target.path)
            except OSError:
                pass
