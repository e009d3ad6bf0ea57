"""The bytes before the offset, which a server sends that knows no Range: read past."""

from micropython import const

_BLOCK = const(4096)


def skip(job):
    """Read at most a block of them; what a target's `fill` would return."""
    buffer = job.target.buffer
    left = min(job.skip, _BLOCK)
    n = 1
    while left:
        n = job.stream.raw.readinto(buffer, min(left, len(buffer)))
        if not n:
            break
        job.skip -= n
        left -= n
    return n
