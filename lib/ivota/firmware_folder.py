"""Name the files of a firmware in their folder, and make room for them.

The files of a version share a stem, which is the folder and `file_stem`. `.bin` is the download,
`.json` its checkpoint while it is unfinished, and `.new` what a patch produced. Only
`patch_preparation` and `trial` use `.new`, so a plain update loads no code for it.
"""

import binascii
import hashlib
import os

from micropython import const

from ivota import OtaError, once

_FAILED = const(-5)
_FAT_BLOCK = const(4096)
_FOLDER = const(0x4000)
_MOST = const(16384)  # blocks: no board's flash has more
_LEAST = const(16)  # blocks: a smaller difference may be the file system's own; a bundle has more
_SAFE = const(b"abcdefghijklmnopqrstuvwxyz0123456789._-")  # FAT treats V2 and v2 as one name


def file_stem(version):
    """Return the file name for a version; a version that is not a safe file name is hashed."""
    name = version.encode()  # a text's characters would stay in the heap
    if 0 < len(name) <= 32 and name[0] != 46 and all(char in _SAFE for char in name):
        return version
    return binascii.hexlify(hashlib.sha256(name).digest()[:8]).decode()


def stem_of(path):
    """Return the stem of a path that ends in .bin or .new."""
    return path[:-4]


def prepare(stem, size):
    """Create the folder for a firmware of `size` bytes; return its `FileTarget`, not open yet.

    If the folder can't be created, the first write reports it.
    """
    try:
        os.mkdir(stem.rpartition("/")[0])
    except OSError:
        pass
    return once("file_target").FileTarget(stem + ".bin", stem + ".json", size)


def size_of(path):
    """Return the size of the file, or -1 if it does not exist."""
    try:
        return os.stat(path)[6]
    except OSError:
        return -1


def block_layout(path):
    """Return (whether the volume of `path` is FAT, bytes of its blocks); this file must exist."""
    # Only on FAT is a name in capitals the same name.
    folder, slash, name = path.rpartition("/")
    if size_of(folder + slash + name.upper()) >= 0:
        return True, _FAT_BLOCK
    return False, os.statvfs(path)[0]


def make_room(path, size, kept, spare):
    """Delete files that nobody needs; OtaError(-5) if `size` bytes still do not fit at `path`.

    `kept` are paths that stay; `spare` is deleted only if its room is needed.
    """
    clear(path, kept + (spare,))
    if _lacks(path, size) and spare and spare != path:
        once("json_file").remove(spare)
    lacks = _lacks(path, size)
    if lacks:
        raise OtaError(_FAILED, "not enough space: %d KiB more needed" % lacks)


def clear(path, kept):
    """Delete all files in the folder of `path` except those that are `kept`."""
    directory = path.rpartition("/")[0]
    for name in os.listdir(directory):
        path = directory + "/" + name
        if path not in kept:
            try:
                os.remove(path)
            except OSError:
                pass  # a folder, which is not ours; if it is in the way, later code reports it


def _lacks(path, size):
    """Return how many KiB of room are missing; 0 if the rest of the file fits."""
    directory = path.rpartition("/")[0]
    stat = os.statvfs(directory)
    missing = size - max(size_of(path), 0)
    if not missing:
        return 0  # a complete file needs no room, even if other files have used the reserve
    # One block in 500 for directories, and some for small files that are replaced.
    missing = missing // stat[0] + 4 - stat[3]
    missing += size // (stat[0] * 500)
    if missing > 0:
        missing -= _uncounted(directory, stat)
    return missing * (stat[0] // 512) // 2 if missing > 0 else 0


def _uncounted(directory, stat):
    """Return how many more blocks are free than `stat` reports for the volume of `directory`.

    From littlefs 2.11.3 on (MicroPython 1.29), a file counts once for each open handle, so an
    application that keeps a file of its bundle open seems to fill the flash.
    """
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
