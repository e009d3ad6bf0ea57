"""What an exception means that no part of an update has foreseen."""

import gc

from micropython import const

from ivota import OtaError, again, describe, once

_FAILED = const(-5)


def fault(job, error):
    """The `OtaError` for it."""
    if isinstance(error, MemoryError):
        gc.collect()
        return OtaError(_FAILED, describe(error), True)
    target = job.target
    if isinstance(error, OSError) and job.phase == "block_receiver" and _sound(target):
        return again(describe(error))
    # Where nothing is being written, this is what a hook raised, which must not end the client.
    return OtaError(_FAILED, ("flash: " if target else "") + describe(error))


def _sound(target):
    """Whether all that came is in the target, so that it was the connection that failed."""
    if target.slot:
        return once("slot_writer").sound(target)
    try:
        return target.file.tell() == target.position < target.end
    except OSError:
        return False
