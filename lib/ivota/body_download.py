"""Download the body of the response into the target, block by block: a phase of an update."""

import time

from micropython import const

from ivota import again, guarded_socket, once

_BLOCK = const(4096)
_BLOCKS = const(4)  # of flash in a step: one block more costs less than one step more


def step(job):
    """Store the data that has arrived, at most a few blocks of flash, without allocating.

    No frame on this path has more than eleven words: a larger one would be on the heap.
    """
    target = job.target
    if job.etag:
        target.note_etag(job.etag)
        job.etag = None
    if job.skip:
        n = once("http_status").skip(job)
        if n:
            job.last_block_at = time.ticks_ms()
            return True
    else:
        for _ in range(_BLOCKS):
            n = target.receive(job.response.raw, target.end - target.position)
            if not n:
                break
            _finish_block(job, target)
            if not job.response:  # that was the last block
                return True
            guarded_socket.hooks.feed()
        else:
            return True
    if n == 0:
        raise again("the server closed the connection early")
    if time.ticks_diff(time.ticks_ms(), job.last_block_at) > job.deadline_ms:
        raise again("no block arrived in %d s" % (job.deadline_ms // 1000))
    return False


def _finish_block(job, target):
    """End a complete block, and digest and report it if due; it resets the retries."""
    now = job.last_block_at = time.ticks_ms()
    target.end_block()
    if not job.fetched:
        _reject_unstartable(job)
        job.fetched = True
    job.url_asked = False
    if job.retry.tries:
        job.retry.reset()
    target.digest_more(_BLOCK)
    if target.position == target.size:
        job.progress()
        job.hang_up()
        job.enter("verification")
    elif time.ticks_diff(now, job.reported_at) >= 1000:
        job.progress()


def _reject_unstartable(job):
    """Raise OtaError(-5) if the first block shows that this board can't start the bundle."""
    client = job.client
    # With keys, nothing in it is parsed before its signature is verified (bundle_check).
    target = job.target
    if not (target.slot or client.on_firmware or client.config["keys"]):
        once("boot_compatibility").check_beginning(target.file, target.position)
        target.file.seek(target.position)
