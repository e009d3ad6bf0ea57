"""Streams as MicroPython has them: files, and what every stream can do with `read` and `write`."""

import io
import os

from .errors import EBADF, DeviceOSError, mapped

GET_FILENO = 10
CLOSE = 4
POLL = 3


class IOBase:
    """The base of streams written in Python: `readinto`, `write` and `ioctl` are theirs."""


def data_of(value):
    """A view of the bytes of `value`; MicroPython takes a str for its UTF-8."""
    if isinstance(value, str):
        value = value.encode()
    try:
        return memoryview(value).cast("B")
    except TypeError:
        raise TypeError("object with buffer protocol required") from None


def part(value, args):
    """The slice that `write(buffer, n)` or `write(buffer, offset, n)` means."""
    view = data_of(value)
    if len(args) == 1:
        return view[: args[0]]
    if len(args) == 2:
        return view[args[0] : args[0] + args[1]]
    return view


def room(buffer, n):
    """The part of `buffer` that `readinto(buffer, n)` may fill."""
    view = data_of(buffer)
    if view.readonly:
        raise TypeError("object with buffer protocol required")
    return view if n is None else view[:n]


def read_all(stream):
    """Everything that a stream of any kind, ours or written in Python, still has."""
    out = bytearray()
    buffer = bytearray(512)
    while True:
        n = stream.readinto(buffer)
        if not n:
            return bytes(out)
        out += buffer[:n]


def read_line(read, n):
    """Up to a newline, the end or `n` bytes, by `read(1)`; None where nothing has come yet."""
    out = bytearray()
    while n < 0 or len(out) < n:
        byte = read(1)
        if byte is None:
            return bytes(out) or None
        out += byte
        if byte in (b"", b"\n"):
            break
    return bytes(out)


def close(stream):
    """Close as the interpreter does: a stream written in Python is told by `ioctl`."""
    if isinstance(stream, IOBase):
        stream.ioctl(CLOSE, 0)
    else:
        stream.close()


class _Lines:
    """A stream is what it opens, and gives its lines one after the other."""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __iter__(self):
        return self

    def __next__(self):
        line = self.readline()
        if not line:
            raise StopIteration
        return line


class FileIO(_Lines):
    """A binary file on the host. No truncate, no seekable, no name: boards have none."""

    def __init__(self, raw):
        self._raw = raw

    def __del__(self):
        self._raw.close()

    def close(self):
        self._raw.close()

    def fileno(self):
        return self._raw.fileno()

    def flush(self):
        self._raw.fileno()  # raises when closed

    def _get(self, n):
        try:
            return self._raw.read(n)
        except io.UnsupportedOperation:
            raise DeviceOSError(EBADF) from None

    @mapped
    def read(self, n=-1):
        return self._get(-1 if n is None else n)

    @mapped
    def readinto(self, buffer, n=None):
        view = room(buffer, n)
        data = self._get(len(view))
        view[: len(data)] = data
        return len(data)

    @mapped
    def readline(self, n=-1):
        line = bytearray()
        while n < 0 or len(line) < n:
            byte = self._get(1)
            line += byte
            if not byte or byte == b"\n":
                break
        return bytes(line)

    def readlines(self):
        return list(self)

    @mapped
    def write(self, data, *args):
        try:
            return self._raw.write(part(data, args))
        except io.UnsupportedOperation:
            raise DeviceOSError(EBADF) from None

    @mapped
    def seek(self, offset, whence=0):
        return self._raw.seek(offset, whence)

    @mapped
    def tell(self):
        return self._raw.tell()


class TextIOWrapper(FileIO):
    """A text file on the host: UTF-8, no newline translation, `read(n)` counts characters."""

    @mapped
    def read(self, n=-1):
        if n is None or n < 0:
            return self._get(-1).decode()
        out = bytearray()
        for _ in range(n):
            head = self._get(1)
            if not head:
                break
            more = (head[0] >= 0xC0) + (head[0] >= 0xE0) + (head[0] >= 0xF0)
            out += head + (self._get(more) if more else b"")
        return out.decode()

    def readline(self, n=-1):
        return FileIO.readline(self, n).decode()


class BytesIO(_Lines):
    """A stream in memory."""

    text = False

    def __init__(self, data=b""):
        # A number is a size to set aside, as StringIO(16) means on a board.
        self._io = io.BytesIO(b"" if isinstance(data, int) else bytes(data_of(data)))

    def _out(self, data):
        return data.decode() if self.text else data

    def close(self):
        self._io.close()

    def flush(self):
        pass

    def read(self, n=-1):
        return self._out(self._io.read(n))

    def readinto(self, buffer, n=None):
        return self._io.readinto(room(buffer, n))

    def readline(self, n=-1):
        return self._out(self._io.readline(n))

    def write(self, data, *args):
        return self._io.write(part(data, args))

    def seek(self, offset, whence=0):
        return self._io.seek(offset, whence)

    def tell(self):
        return self._io.tell()

    def getvalue(self):
        return self._out(self._io.getvalue())


class StringIO(BytesIO):
    """A text stream in memory; its positions count bytes, as MicroPython's do."""

    text = True


@mapped
def open_host(path, mode):
    """A file object of the host's file system for MicroPython's `mode`."""
    plain = mode.replace("b", "").replace("t", "")
    if plain not in ("r", "w", "a", "x", "r+", "w+", "a+", "x+"):
        raise ValueError("mode %r: no test of ours may need it" % mode)
    if plain.startswith("r") and os.path.isdir(path):
        raise DeviceOSError(21)
    raw = io.FileIO(path, plain)
    if plain.startswith("a"):
        raw.seek(0)  # tell() is 0 after opening with "ab"; the kernel appends all the same
    return FileIO(raw) if "b" in mode else TextIOWrapper(raw)
