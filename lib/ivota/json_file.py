"""Read and atomically replace a small JSON file with a CRC."""

import json
import os
from binascii import crc32

from micropython import const

_CRC = const(b'"crc": "')  # the last key's value is the CRC of the text before this
_MOST = const(16384)  # bytes: a larger file is not ours and would not fit in the heap


def load(path, ours=False):
    """Read the dictionary at `path`; return None if it is not valid.

    If the file has a CRC, it must match; with `ours`, the file must have one. On FAT, a rename
    deletes its target first, so after a power cut only the temporary file may exist, and it is
    read instead. Raises MemoryError: a file that the heap can't hold is not missing, and must not
    be replaced.
    """
    for name in (path, path + "~"):
        try:
            size = os.stat(name)[6]
            if size > _MOST:
                continue
            with open(name, "rb") as file:
                text = file.read(size)  # without its size, this takes a larger piece of heap
            at = text.rfind(_CRC)
            if at >= 0:
                if text[at + len(_CRC) :] != b'%08x"}' % crc32(memoryview(text)[:at]):
                    continue
            # Up to MicroPython 1.25, json accepts an unterminated object.
            elif ours or text.rstrip()[-1:] != b"}":
                continue
            value = json.loads(text)
        except (OSError, ValueError):
            continue
        if isinstance(value, dict):
            value.pop("crc", None)
            return value
    return None


def save(path, value):
    """Replace the file, so that after a power cut `load` reads the old or the new one."""
    temporary = path + "~"
    crc = 0
    part = b"{"
    with open(temporary, "wb") as file:
        for key in value:  # one after the other: both may not fit in the heap
            part += json.dumps({key: value[key]}).encode()[1:-1]
            crc = crc32(part, crc)
            file.write(part)
            part = b", "
        file.write(b'%s%s%08x"}' % (part, _CRC, crc32(part, crc)))
    os.rename(temporary, path)


def remove(path):
    """Delete the file, and a temporary file that a power cut may have left."""
    for name in (path + "~", path):
        try:
            os.remove(name)
        except OSError:
            pass
