"""Handle the failure of an update: start a last try, or clean up."""

from micropython import const

from ivota import json_file, once

_TIMED_OUT = const(-1)
_EXPIRED = const(-3)
_MISMATCH = const(-4)


def failed(job, error):
    """Start over or request a fresh URL, once each; otherwise clean up and raise `error`.

    Files are deleted before the failure is recorded: on a full flash, the record needs their room.
    """
    client = job.client
    target = job.target
    if error.again and error.code == _MISMATCH and not job.restarted:
        job.restarted = True
        target.discard()
        job.enter("download_preparation")
        return
    if error.code == _EXPIRED and not job.url_asked:
        once("url_renewal").begin(job)
        return
    job.enter(None)
    if error.again and target:
        error.code = _TIMED_OUT
        error.message = "time_out: " + error.message
        if job.fetched and not job.restarted:
            client.state.failures = []  # it makes progress and will finish
    # Resumable data stays; firmware that failed for good is deleted.
    if target and target.position and error.code in (_TIMED_OUT, _EXPIRED):
        job.stop()
    elif target:
        target.discard()
    elif job.firmware and job.firmware.path != client.state.active:
        json_file.remove(job.firmware.path)
        json_file.remove(job.push.path)  # the patch from which it was built
    reasons = sorted(job.reasons.items(), key=lambda item: -item[1])
    if reasons:
        counts = ", ".join("%dx %s" % (count, why) for why, count in reasons)
        error.message += " (after %s)" % counts[:200]
    raise error
