"""The first phase of an update: what of it is on flash, and room for the rest."""

import time

try:
    import esp32
except ImportError:  # all ports but one
    esp32 = None

from micropython import const

from ivota import once
from ivota.errors import OtaError

_FAILED = const(-5)
_A_DAY = const(24)  # downloads from the first byte in `retry.rest_most_s`


def step(job):
    """Open the target when it is time to."""
    client = job.client
    # A trial needs both bundles; what is pushed meanwhile waits for its end.
    if client.trial or job.deferred("download"):
        return False
    staging = once("staging")
    base = client.directory + "/" + staging.file_stem(job.push.version)
    if client.state.active == base + ".bin":
        raise OtaError(_FAILED, "a firmware of this name runs")
    target = job.target = staging.Target()
    if esp32 and not client.on_firmware:
        once("slots").find(target, base, job.push)
    if target.kind == "firmware":
        staging.open_target(target, base, job.push, client.state.active, client.state.previous)
    job.fresh = not target.position
    job.rest_s(_wear_s(job))
    client.log("info", "download", offset=target.position, rest_ms=job.retry.left_ms())
    job.progress()
    job.phase = "transfer"
    return True


def _wear_s(job):
    """Seconds that a download from its first byte must wait: no pushes wear out the flash.

    Each is worth its share of a day, and at most a day's worth lies ahead of the clock; it counts
    from its first block on.
    """
    state = job.client.state
    day_s = int(job.client.config["retry"]["rest_most_s"])
    now = int(time.time())
    ahead = state.worn_until - now
    if not 0 < ahead <= day_s:
        ahead = 0  # long ago, or before the clock was set
    ahead += day_s // _A_DAY
    job.worn_until = now + ahead
    return max(ahead - day_s, 0) if job.fresh else 0
