"""`select`: poll, on what has a file number and on streams that answer `ioctl`."""

import select as host
import time

from ..errors import DeviceOSError
from ..streams import GET_FILENO, POLL, IOBase

POLLIN, POLLOUT, POLLERR, POLLHUP = 1, 4, 8, 16
POLLNVAL = 32


def number_of(stream):
    """The file number to poll, or None for a stream to ask."""
    if isinstance(stream, int) and not isinstance(stream, bool):
        return lambda: stream
    if hasattr(stream, "ioctl"):
        if isinstance(stream, IOBase):
            number = stream.ioctl(GET_FILENO, 0)
            return None if number is None or number < 0 else lambda: number
    elif hasattr(stream, "fileno"):
        return stream.fileno
    elif isinstance(stream, IOBase):
        raise AttributeError("'%s' object has no attribute 'ioctl'" % type(stream).__name__)
    raise DeviceOSError("stream operation not supported")


class poll:
    def __init__(self):
        self._entries = {}  # id → [stream, file number call or None, mask]

    def register(self, stream, mask=POLLIN | POLLOUT):
        known = self._entries.get(id(stream))
        if known:
            known[2] = mask
        else:
            self._entries[id(stream)] = [stream, number_of(stream), mask]

    def modify(self, stream, mask):
        if id(stream) not in self._entries:
            raise DeviceOSError(2)
        self._entries[id(stream)][2] = mask

    def unregister(self, stream):
        self._entries.pop(id(stream), None)

    def _ready(self):
        for stream, number, mask in list(self._entries.values()):
            if number is None:
                events = stream.ioctl(POLL, mask)
                if events < 0:
                    raise DeviceOSError(-events)
            elif number() < 0:
                events = POLLNVAL
            else:
                asked = host.poll()
                asked.register(number(), mask)
                events = sum(event for _, event in asked.poll(0))
            if events:
                yield stream, events

    def poll(self, timeout=-1):
        end = None if timeout < 0 else time.monotonic() + timeout / 1000
        while True:
            found = list(self._ready())
            if found or (end is not None and time.monotonic() >= end):
                return found
            time.sleep(0.0005)

    def ipoll(self, timeout=-1, flags=0):
        return iter(self.poll(timeout))


def make(world):
    return {
        "POLLERR": POLLERR,
        "POLLHUP": POLLHUP,
        "POLLIN": POLLIN,
        "POLLOUT": POLLOUT,
        "poll": poll,
    }
