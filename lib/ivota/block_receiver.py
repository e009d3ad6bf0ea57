"""The phase in which bytes arrive: from the socket into the target, a block at most in a step."""

import time

from micropython import const

from ivota import again, once

_BLOCK = const(4096)
_MUCH = const(256)  # fewer bytes are not worth a call


def step(job):
    """Take what has arrived, at most a block of flash; nothing is allocated.

    No frame on this path has more than eleven words: a larger one would come from the heap.
    """
    target = job.target
    if not job.verbs:
        job.verbs = once(target.kind)
        if job.etag:
            once("checkpoint").note(target, job.etag)
            job.etag = None
    if job.skip:
        n = once("no_range").skip(job)
        if n:
            job.durable_at = time.ticks_ms()
    else:
        n = target.end - target.position
        left = _BLOCK - n
        n = job.verbs.fill(target, job.stream.raw, n)
        if n:
            _advance(job, target)
            # What came with the end of a block begins the next, but ends none.
            if left > _MUCH and target.end - target.position > left:
                n = job.verbs.fill(target, job.stream.raw, left)
    if n:
        return True
    if n == 0:
        raise again("the server closed early")
    if time.ticks_diff(time.ticks_ms(), job.durable_at) > job.deadline_ms:
        raise again("no block in %d s" % (job.deadline_ms // 1000))
    return False


def _advance(job, target):
    """A block is whole: progress refills the budget."""
    now = job.durable_at = time.ticks_ms()
    job.verbs.end_block(target)
    if not job.fetched:
        _look(job)
        job.fetched = True
    job.url_asked = False
    if job.retry.tries:
        job.retry.reset()
    job.verbs.check(target, _BLOCK)
    if target.position == target.size:
        job.progress()
        job.hang_up()
        job.phase = "handover"
    elif time.ticks_diff(now, job.reported_at) >= 1000:
        job.progress()


def _look(job):
    """The first block has come: a bundle that this board can't start ends here."""
    client = job.client
    # With keys nothing of it is looked at before its signature fits (bundle_check).
    if job.target.file and not client.on_firmware and not client.config["keys"]:
        once("bundle_facts").look(job.target.file, job.target.position)
        job.target.file.seek(job.target.position)
