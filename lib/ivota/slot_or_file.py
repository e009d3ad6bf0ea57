"""Decide by the first bytes whether a download goes into an OTA slot or a file."""

import io
import time

from micropython import const

from ivota import OtaError, again, describe, once

_FAILED = const(-5)
_HEAD = const(36)  # bytes of an image, up to the start of its description


def step(job):
    """Read a byte; open the target as soon as its kind is known."""
    if not job.work:
        job.work = _decide(job)  # a lost connection closes it, and the bytes are read again
    for is_busy in job.work:
        return is_busy
    job.work = None
    job.enter("body_download")
    return True


def _decide(job):
    """Read a byte per step, and replace the job's target; yield whether there may be more to read.

    The image's header is checked before anything is erased.
    """
    files = job.target
    byte = bytearray(1)
    head = b""
    while True:
        try:
            n = job.response.raw.readinto(byte, 1)
        except OSError as error:
            raise again(describe(error))
        if n is None:
            if time.ticks_diff(time.ticks_ms(), job.last_block_at) > job.deadline_ms:
                raise again("no byte arrived in %d s" % (job.deadline_ms // 1000))
            yield False
            continue
        if not n:
            raise again("the server closed the connection early")
        if not head:
            image = byte == once("firmware_kind").IMAGE
            if image and not once("slot_finder").next_slot():
                raise OtaError(_FAILED, "this board has no slot for an ESP32 image")
        head += byte
        if not image or len(head) >= min(_HEAD, files.size):
            break
        yield True
    push = job.push
    state = job.client.state
    if image:
        once("image_trial").check(head)
        target = once("slot_finder").begin(files, push, (state.active, state.previous))
    else:
        files.discard()  # it may have the beginning of an image
        target = once("download_preparation").open_file(files, push, state.active, state.previous)
    job.target = target
    target.receive(io.BytesIO(head), len(head))
