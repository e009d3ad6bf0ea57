"""Wait for a fresh URL from the cloud."""

from micropython import const

from ivota import OtaError

_EXPIRED = const(-3)
FRESH_MS = 30000  # maximum wait for a fresh URL


def step(job):
    """Wait until `job.renew` ends this phase, or fail with OtaError(-3)."""
    if job.client.queue:
        job.retry.rest(FRESH_MS)  # the cloud does not know yet that the board needs a fresh URL
    elif not job.retry.left_ms():
        raise OtaError(_EXPIRED, "the URL has expired, and no new one arrived")
    return False
