"""Read an OTA slot, inactive or running, like a file; invalidate the inactive one."""

import io

from esp32 import Partition
from micropython import const

_BLOCK = const(4096)
_MOST = const(1024)


def _slot():
    return Partition(Partition.RUNNING).get_next_update()


class SlotFile:
    """Read like a file. Raises OSError if the flash fails, or after the end."""

    def __init__(self):
        self._part = _slot()
        self._at = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def seek(self, at):
        self._at = at

    def readinto(self, buffer):
        self._part.readblocks(self._at // _BLOCK, buffer, self._at % _BLOCK)
        self._at += len(buffer)
        return len(buffer)

    def read(self, n):
        data = bytearray(n)
        self.readinto(data)
        return data


class Running(SlotFile):
    """The running image; reads at most 1024 bytes at a time, into any buffer."""

    def __init__(self):
        self._part = Partition(Partition.RUNNING)
        self._at = 0
        self._view = memoryview(bytearray(_MOST))
        self._raw = io.BytesIO(_MOST)

    def readinto(self, buffer, n=0):
        n = n or len(buffer)
        view = self._view[:n]
        SlotFile.readinto(self, view)
        raw = self._raw
        raw.seek(0)
        raw.write(view)
        raw.seek(0)
        return raw.readinto(buffer, n)

    def close(self):
        pass


def invalidate():
    """Erase the start of the inactive slot's image: if the other image is damaged, a boot loader
    starts any image that it finds.
    """
    _slot().ioctl(6, 0)
