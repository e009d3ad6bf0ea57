"""Skip the bytes before the offset, if a server does not support Range."""

from micropython import const

_BLOCK = const(4096)


def skip(job):
    """Read at most one block of them; return the result of a target's `fill`."""
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
