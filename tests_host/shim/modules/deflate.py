"""`deflate`: streams that unpack; a board asks for no more of its source than it needs."""

import zlib

from ..errors import EINVAL, DeviceOSError
from ..streams import IOBase, room

AUTO, RAW, ZLIB, GZIP = 0, 1, 2, 3


class DeflateIO(IOBase):
    def __init__(self, stream, format=AUTO, wbits=0, close=False, /):
        if format != RAW:
            raise NotImplementedError("the shim unpacks raw streams alone")
        self._stream = stream
        self._unpacker = zlib.decompressobj(-(wbits or 15))
        self._ready = bytearray()

    def readinto(self, buffer, n=None):
        view = room(buffer, n)
        byte = bytearray(1)
        while len(self._ready) < len(view) and not self._unpacker.eof:
            if not self._stream.readinto(byte):
                raise EOFError
            try:
                self._ready += self._unpacker.decompress(byte)
            except zlib.error:
                raise DeviceOSError(EINVAL) from None
        n = min(len(view), len(self._ready))
        view[:n] = self._ready[:n]
        del self._ready[:n]
        return n


def make(world):
    return {"AUTO": AUTO, "RAW": RAW, "ZLIB": ZLIB, "GZIP": GZIP, "DeflateIO": DeflateIO}
