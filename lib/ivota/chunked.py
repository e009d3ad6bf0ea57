"""The body of an HTTP answer that comes in chunks, each with its size before it."""

from micropython import const

from ivota import again

_LINE = const(1024)  # bytes that a line before a chunk may have; its size takes a few of them
_PART = const(64)
_DIGITS = b"0123456789abcdefABCDEF"


class Body:
    """Stands for the socket `raw`, which does not block: its `readinto` gives the body alone."""

    def __init__(self, raw):
        self._raw = raw
        self._left = 0  # bytes of this chunk that are still to come
        self._line = b""  # what has come of a line between chunks
        self._between = False  # whether the end of a chunk's last line is due
        self._ended = False

    def readinto(self, buffer, n):
        """As a socket's; 0 after the last chunk, too. Raises `again` if no chunk's size comes."""
        while not self._left:
            if self._ended:
                return 0
            part = self._raw.readline(_PART)
            if not part:
                return None if part is None else 0
            self._line += part
            if part[-1] == 10:
                self._size()
            elif len(self._line) > _LINE:
                raise again("the chunks of the answer are damaged")
        n = self._raw.readinto(buffer, min(n, self._left))
        if n:
            self._left -= n
            self._between = not self._left
        return n

    def _size(self):
        """Take in a whole line: the size of the next chunk, or the end of the last one."""
        line, self._line = self._line.partition(b";")[0].strip(), b""
        if self._between:
            self._between = False
            if not line:
                return
        elif 0 < len(line) <= 16 and not line.strip(_DIGITS):
            self._left = int(line, 16)
            self._ended = not self._left
            return
        raise again("the chunks of the answer are damaged")

    def close(self):
        """Close the socket."""
        self._raw.close()
