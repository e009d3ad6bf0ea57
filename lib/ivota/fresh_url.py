"""The phase in which the cloud has been asked for a fresh URL."""

from micropython import const

from ivota import OtaError

_EXPIRED = const(-3)
FRESH_MS = 30000  # how long a fresh URL may take


def step(job):
    """Wait; `job.renew` ends it, or OtaError(-3)."""
    if job.client.queue:
        job.retry.rest(FRESH_MS)  # the cloud does not know yet that one is needed
    elif not job.retry.left_ms():
        raise OtaError(_EXPIRED, "the URL has expired, and no fresh one came")
    return False
