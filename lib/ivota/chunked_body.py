"""Decode the body of a chunked HTTP response."""

from micropython import const

from ivota import again

_LINE = const(1024)  # bytes of a line before a chunk; its size takes a few of them
_PART = const(64)
_DIGITS = const(b"0123456789abcdefABCDEF")


class Body:
    """Wrap the non-blocking socket `raw`: `readinto` returns only the body."""

    def __init__(self, raw):
        self._raw = raw
        self._left = 0  # bytes of this chunk that are still missing
        self._line = b""  # the partial line between chunks
        self._between = False  # whether the end of a chunk's last line is missing
        self._ended = False

    def readinto(self, buffer, n):
        """Read like a socket; return 0 after the last chunk. Raises `OtaError`, with `again`, if
        a chunk's size is missing.
        """
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
                raise again("the response has invalid chunks")
        n = self._raw.readinto(buffer, min(n, self._left))
        if n:
            self._left -= n
            self._between = not self._left
        return n

    def _size(self):
        """Handle a complete line: the size of the next chunk, or the end of the last one."""
        line, self._line = self._line.partition(b";")[0].strip(), b""
        if self._between:
            self._between = False
            if not line:
                return
        elif 0 < len(line) <= 16 and not line.strip(_DIGITS):
            self._left = int(line, 16)
            self._ended = not self._left
            return
        raise again("the response has invalid chunks")

    def close(self):
        """Close the socket."""
        self._raw.close()
