"""Turn an exception that no part of an update expects into an `OtaError`."""

import gc

from micropython import const

from ivota import OtaError, again, describe

_FAILED = const(-5)


def fault(job, error):
    """Return the `OtaError` for this exception."""
    if isinstance(error, MemoryError):
        gc.collect()
        return OtaError(_FAILED, describe(error), True)
    target = job.target
    if isinstance(error, OSError) and job.phase == "body_download" and target.is_intact():
        return again(describe(error))
    # Without a target, a callback raised the exception, which must not end the client.
    return OtaError(_FAILED, ("flash: " if target else "") + describe(error))
