"""A small JSON file that is replaced atomically, and in which damage is noticed."""

import json
import os
from binascii import crc32

from micropython import const

_CRC = b'"crc": "'  # the last key's value is the CRC of the text before this
_MOST = const(16384)  # bytes: what is larger is no file of ours, and would not fit the heap


def load(path, ours=False):
    """The dictionary kept at `path`, or None where none can be read.

    One with a CRC must be whole; with `ours` it must have one. On FAT a rename removes its
    target first, so a cut can leave only the temporary: it is looked for too. Raises MemoryError:
    what the heap has no room for is not missing, and must not be written anew as if it were.
    """
    for name in (path, path + "~"):
        try:
            if os.stat(name)[6] > _MOST:
                continue
            with open(name, "rb") as file:
                text = file.read()
            at = text.rfind(_CRC)
            if at >= 0:
                if text[at + len(_CRC) :] != b'%08x"}' % crc32(memoryview(text)[:at]):
                    continue
            # Up to MicroPython 1.25 json takes an object without its end.
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
    """Replace the file: after a power cut at any instant the old or the new one is read."""
    temporary = path + "~"
    crc = 0
    part = b"{"
    with open(temporary, "wb") as file:
        for key in value:  # one after the other: the heap may have no room for all of them
            part += json.dumps({key: value[key]}).encode()[1:-1]
            crc = crc32(part, crc)
            file.write(part)
            part = b", "
        file.write(b'%s%s%08x"}' % (part, _CRC, crc32(part, crc)))
    os.rename(temporary, path)


def remove(path):
    """Remove the file, and a temporary that a cut may have left, where they are."""
    for name in (path + "~", path):
        try:
            os.remove(name)
        except OSError:
            pass
