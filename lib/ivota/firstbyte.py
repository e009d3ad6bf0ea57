"""The phase in which the first byte says where a firmware goes: into an OTA slot, or a file."""

import time

from ivota import again, describe, once


def step(job):
    """Wait for the byte, and open what it asks for."""
    target = job.target
    buffer = target.buffer
    try:
        n = job.stream.raw.readinto(buffer, 1)
    except OSError as error:
        raise again(describe(error))
    if n is None:
        if time.ticks_diff(time.ticks_ms(), job.durable_at) > job.deadline_ms:
            raise again("no byte in %d s" % (job.deadline_ms // 1000))
        return False
    if not n:
        raise again("the server closed early")
    state = job.client.state
    slots = once("slots")
    if buffer == slots.IMAGE:
        slots.begin(target, job.push, (state.active, state.previous))
        target.gathered.write(buffer)
    else:
        # What may lie there goes on with another byte.
        once("checkpoint").discard(target)
        stem = once("files").stem_of(target.path)
        once("staging").open_target(target, stem, job.push, state.active, state.previous)
        target.kind = "firmware"
        target.phase = "receive"
        target.file.write(buffer)
    target.position = 1
    job.phase = "receive"
    return True
