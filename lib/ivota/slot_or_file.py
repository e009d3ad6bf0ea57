"""Decide by the first bytes whether a download goes into an OTA slot or a file."""

import time

from micropython import const

from ivota import OtaError, again, describe, once

_FAILED = const(-5)
_HEAD = const(36)  # bytes of an image, up to the start of its description


def step(job):
    """Read one byte at a time, and open the target as soon as it is known.

    An image is checked before anything is erased.
    """
    target = job.target
    head = target.head
    target.head = b""  # for anything that ends this connection
    try:
        n = job.stream.raw.readinto(target.buffer, 1)
    except OSError as error:
        raise again(describe(error))
    if n is None:
        if time.ticks_diff(time.ticks_ms(), job.durable_at) > job.deadline_ms:
            raise again("no byte arrived in %d s" % (job.deadline_ms // 1000))
        target.head = head
        return False
    if not n:
        raise again("the server closed the connection early")
    head += target.buffer
    ota_slots = once("ota_slots")
    image = head[:1] == once("firmware_kind").IMAGE
    if image and not ota_slots.next_slot():
        raise OtaError(_FAILED, "this board has no slot for an ESP32 image")
    if image and len(head) < min(_HEAD, job.push.size):
        target.head = head
        return True
    state = job.client.state
    if image:
        once("esp32_image").check(head)
        ota_slots.begin(target, job.push, (state.active, state.previous))
        target.gathered.write(head)
    else:
        # The old content of the slot begins with another byte.
        once("checkpoint").discard(target)
        stem = once("firmware_files").stem_of(target.path)
        once("download_target").open_target(target, stem, job.push, state.active, state.previous)
        target.kind = "file_writer"
        target.phase = "block_receiver"
        target.file.write(head)
    target.position = len(head)
    job.phase = "block_receiver"
    return True
