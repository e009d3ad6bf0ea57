"""What a failed update leaves behind, and what is still tried."""

from micropython import const

from ivota import json_file, once

_TIMED_OUT = const(-1)
_EXPIRED = const(-3)
_MISMATCH = const(-4)


def failed(job, error):
    """Start afresh or ask for a fresh URL, once each; else clean up and raise `error`.

    Removed is before the failure is noted: on a full flash the note takes the room of what goes.
    """
    client = job.client
    target = job.target
    if error.again and error.code == _MISMATCH and not job.restarted:
        job.restarted = True
        once("checkpoint").discard(target)
        job.phase = "update_target"
        return
    if error.code == _EXPIRED and not job.url_asked:
        job.url_asked = True
        client.report_version()
        job.retry.rest(once("fresh_url").FRESH_MS)
        job.phase = "fresh_url"
        return
    job.phase = None
    if error.again and target:
        error.code = _TIMED_OUT
        error.message = "time_out: " + error.message
        if job.fetched and not job.restarted:
            client.state.failures = []  # it will end, a little at a time
    # What can be resumed stays; of a firmware that failed for good nothing does.
    if target and target.position and error.code in (_TIMED_OUT, _EXPIRED):
        job.drop()
    elif target:
        once("checkpoint").discard(target)
    elif job.firmware and job.firmware.path != client.state.active:
        json_file.remove(job.firmware.path)
        json_file.remove(job.push.path)  # the patch that it was made by
    reasons = sorted(job.reasons.items(), key=lambda item: -item[1])
    if reasons:
        counts = ", ".join("%dx %s" % (count, why) for why, count in reasons)
        error.message += " (after %s)" % counts[:200]
    raise error
