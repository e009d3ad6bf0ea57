"""Correct littlefs' count of used blocks.

From 2.11.3 on (MicroPython 1.29), it counts a file once for each open handle, so an application
that keeps a file of its bundle open seems to fill the flash.
"""

import os

from micropython import const

_FOLDER = const(0x4000)
_MOST = const(16384)  # blocks: no board's flash has more
_LEAST = const(16)  # blocks: fewer may be the file system's own, and every bundle has more


def uncounted(directory, stat):
    """Return how many more blocks are free than `stat` reports for the volume of `directory`."""
    try:
        for root in ("", "/" + directory.split("/")[1]):
            if stat[2] <= _MOST and os.statvfs(root or "/")[:3] == stat[:3]:
                more = stat[2] - _used(root, stat) - stat[3]
                return more if more >= _LEAST else 0
    except (OSError, IndexError):
        pass
    return 0


def _used(folder, stat):
    blocks = 2
    for entry in os.ilistdir(folder or "/"):
        path = folder + "/" + entry[0]
        if entry[1] != _FOLDER:
            blocks += (os.stat(path)[6] + stat[0] - 1) // stat[0]
        elif os.statvfs(path)[:3] == stat[:3]:  # otherwise another volume is mounted there
            blocks += _used(path, stat)
    return blocks
