"""The OTA slot that does not run, read as a file."""

from esp32 import Partition
from micropython import const

_BLOCK = const(4096)


def _slot():
    return Partition(Partition.RUNNING).get_next_update()


class SlotFile:
    """As much of a file as reading takes; OSError when the flash fails, or behind its end."""

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


def forget():
    """Leave no image there: a boot loader whose own one is damaged starts what it finds."""
    _slot().ioctl(6, 0)
