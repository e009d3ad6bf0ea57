"""Name the files of a firmware in their folder, and make room for them.

The files of a version share a stem, which is the folder and `file_stem`. `.bin` is the download,
`.json` its checkpoint while it is unfinished, and `.new` what a patch produced. Only `patch_base`
and `trial` use `.new`, so a plain update loads no code for it. Endings are bytes if the text would
become a name, which stays in the heap.
"""

import binascii
import hashlib
import os

from micropython import const

from ivota import OtaError, once

_FAILED = const(-5)
_FAT_BLOCK = const(4096)
_SAFE = b"abcdefghijklmnopqrstuvwxyz0123456789._-"  # to FAT, V2 would be v2


def file_stem(version):
    """The name under which a version is kept; one that is not a safe file name is hashed."""
    name = version.encode()  # characters of the text would stay in the heap
    if 0 < len(name) <= 32 and name[0] != 46 and all(char in _SAFE for char in name):
        return version
    return binascii.hexlify(hashlib.sha256(name).digest()[:8]).decode()


def stem_of(path):
    """The stem of any of a firmware's files but its checkpoint."""
    return path[:-4]


def place(target, stem, size):
    """Name the files of a target of `size` bytes; their folder, which is there from now on.

    Where it can't be made, the first file that is written says so.
    """
    target.path = stem + b".bin".decode()
    target.checkpoint = stem + ".json"
    target.size = size
    directory = stem.rpartition("/")[0]
    try:
        os.mkdir(directory)
    except OSError:
        pass
    return directory


def size_of(path):
    """Bytes in the file, -1 where there is none."""
    try:
        return os.stat(path)[6]
    except OSError:
        return -1


def set_blocks(target, stem):
    """Set `fat` and `block_size` of a target; one of the stem's `.bin` and `.json` is there."""
    # A name in capitals is the same name on FAT alone.
    target.fat = fat = size_of(stem + b".BIN".decode()) >= 0
    target.block_size = _FAT_BLOCK if fat else os.statvfs(target.path)[0]


def make_room(target, directory, kept, spare):
    """Remove what no one needs; OtaError(-5) when the firmware does not fit even so.

    `kept` are paths that stay, `spare` one that goes only when the room is needed.
    """
    clear(directory, kept + (spare,))
    if _lacks(target, directory) and spare and spare != target.path:
        once("json_file").remove(spare)
    lacks = _lacks(target, directory)
    if lacks:
        raise OtaError(_FAILED, "no room: %d KiB more are needed" % lacks)


def clear(directory, kept):
    """Remove what is not at one of these paths."""
    for name in os.listdir(directory):
        path = directory + "/" + name
        if path not in kept:
            try:
                os.remove(path)
            except OSError:
                pass  # a folder: not ours; whether it stands in the way is seen later


def _lacks(target, directory):
    """KiB that are missing; 0 where the rest of the target fits."""
    stat = os.statvfs(directory)
    missing = target.size - max(size_of(target.path), 0)
    if not missing:
        return 0  # it is whole: some of what was kept free is in use by now
    # One block in 500 for directories, and some for the small files that are replaced.
    missing = missing // stat[0] + 4 - stat[3]
    missing += target.size // (stat[0] * 500)
    if missing > 0:
        missing -= once("flash_usage").uncounted(directory, stat)
    return missing * (stat[0] // 512) // 2 if missing > 0 else 0
