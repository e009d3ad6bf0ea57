"""Receive bytes from the socket into the target: the phase of an update that downloads."""

import time

from micropython import const

from ivota import again, guarded_socket, once

_BLOCK = const(4096)
_BLOCKS = const(4)  # of flash in a step: a further block costs less than another step


def step(job):
    """Store the data that has arrived, at most a few blocks of flash, without allocating.

    No frame on this path has more than eleven words: a larger one would be on the heap.
    """
    target = job.target
    if not job.verbs:
        job.verbs = once(target.kind)
        if job.etag:
            once("checkpoint").note(target, job.etag)
            job.etag = None
    if job.skip:
        n = once("http_status").skip(job)
        if n:
            job.durable_at = time.ticks_ms()
            return True
    else:
        for _ in range(_BLOCKS):
            n = job.verbs.fill(target, job.stream.raw, target.end - target.position)
            if not n:
                break
            _advance(job, target)
            if not job.verbs:  # that was the last block
                return True
            guarded_socket.hooks.feed()
        else:
            return True
    if n == 0:
        raise again("the server closed the connection early")
    if time.ticks_diff(time.ticks_ms(), job.durable_at) > job.deadline_ms:
        raise again("no block arrived in %d s" % (job.deadline_ms // 1000))
    return False


def _advance(job, target):
    """Continue after a complete block: progress resets the retries."""
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
        job.phase = "installation"
    elif time.ticks_diff(now, job.reported_at) >= 1000:
        job.progress()


def _look(job):
    """The first block is complete: reject a bundle that this board can't start."""
    client = job.client
    # With keys, nothing in it is parsed before its signature is verified (bundle_check).
    if job.target.file and not client.on_firmware and not client.config["keys"]:
        once("bundle_compatibility").look(job.target.file, job.target.position)
        job.target.file.seek(job.target.position)
