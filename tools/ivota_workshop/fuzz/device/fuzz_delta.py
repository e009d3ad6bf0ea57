"""Unpack the records of a patch: check their result, and that they read only the base.

The first two bytes are the result's size.
"""

import io

from ivota import OtaError
from ivota.delta_decoder import pieces

BASE = bytes((i * 7 + i // 251) & 0xFF for i in range(3000))
MOST = 4096

reference = None  # another reader's result, None for records that it rejects


class Base:
    """The base; raises if the code reads outside it."""

    def __init__(self):
        self._at = 0

    def seek(self, at):
        assert 0 <= at <= len(BASE), "a place outside of the base"
        self._at = at

    def readinto(self, buffer, n):
        assert self._at + n <= len(BASE), "behind the end of the base"
        self._at += n
        return io.BytesIO(BASE[self._at - n : self._at]).readinto(buffer, n)


def check(data):
    size = (data[0] | data[1] << 8) % MOST + 1 if len(data) > 1 else 1
    made = b""
    count = 0
    try:
        found = pieces(io.BytesIO(data[2:]), Base(), len(BASE), size)
        buffer = next(found)
        for n in found:
            assert 0 < n <= 1024
            made += bytes(buffer)[:n]
            count += 1
            assert len(made) <= size and count <= size
    except OtaError as error:
        assert error.code == -5 and error.reject and error.message[:7] == "patch: "
        assert not reference or reference(BASE, data[2:], size) is None
        return "refused"
    assert len(made) == size
    assert not reference or reference(BASE, data[2:], size) == made
    return "%d" % size
