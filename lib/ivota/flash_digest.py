"""Digest a file or a slot on flash in bounded steps."""

from micropython import const

_CHUNK = const(512)
_CHUNKS = const(128)  # per step: 64 KiB are read and digested in less time than an erase takes


def update(digest, file, left):
    """Digest the next `left` bytes of a file or a slot, in a generator of bounded steps.

    Returns how many bytes were missing, usually 0. Raises OSError if the flash fails.
    """
    buffer = bytearray(_CHUNK)
    while left >= _CHUNK:
        for _ in range(min(left // _CHUNK, _CHUNKS)):
            if file.readinto(buffer) != _CHUNK:
                return left
            digest.update(buffer)
            left -= _CHUNK
        yield
    if left:
        tail = memoryview(buffer)[:left]
        if file.readinto(tail) != left:
            return left
        digest.update(tail)
    return 0
