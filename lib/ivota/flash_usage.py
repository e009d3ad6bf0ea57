"""Blocks that littlefs takes for used and are free.

From 2.11.3 on (MicroPython 1.29) it counts a file once for each of its open handles, so an
application that has a file of its bundle open seems to use up the flash.
"""

import os

from micropython import const

_FOLDER = const(0x4000)
_MOST = const(16384)  # blocks: what has more is no flash of a board
_LEAST = const(16)  # blocks: fewer may be the file system's own, and no bundle has fewer


def uncounted(directory, stat):
    """How many blocks more are free than `stat`, of the volume with `directory`, says."""
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
        elif os.statvfs(path)[:3] == stat[:3]:  # else another volume is mounted there
            blocks += _used(path, stat)
    return blocks
