"""Ask the cloud for a fresh URL, and wait for it: a phase of an update."""

from micropython import const

from ivota import OtaError

_EXPIRED = const(-3)
_FRESH_MS = const(30000)  # maximum wait for a fresh URL


def begin(job):
    """Enter this phase: the cloud answers a report of the version with a push that has one."""
    job.url_asked = True
    job.client.report_version()
    job.retry.rest(_FRESH_MS)
    job.enter("url_renewal")


def step(job):
    """Wait until `job.renew` ends this phase, or fail with OtaError(-3)."""
    if job.client.queue:
        job.retry.rest(_FRESH_MS)  # the cloud does not know yet that the board needs a fresh URL
    elif not job.retry.left_ms():
        raise OtaError(_EXPIRED, "the URL has expired, and no new one arrived")
    return False
