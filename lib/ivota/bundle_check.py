"""Check the structure and the content of a complete bundle before the board starts it."""

import json

from micropython import const

from ivota import OtaError, once

_FAILED = const(-5)
_FILES = const(256)  # files and folders, besides ivota.json: their index must fit in the heap
_FACTS = const(1024)  # bytes of a bundle's ivota.json
_FORMAT = const(2)
_DEPTH = const(8)  # nested folders
# Kinds of ROMFS records:
_PADDING = const(1)
_VERBATIM = const(2)
_FOLDER = const(4)
_PLAIN = const(5)


def examine(path, version):
    """Check a bundle's records, one per step; `bundlefs` reads them when it mounts the bundle.

    Raises OtaError(-5) for a bundle that the boot files can't start, or that has another version,
    is damaged, has too many files, has an unsafe path, lacks an application, or changes the
    board's identity.
    """
    try:
        with open(path, "rb") as file:
            yield from _examine(file, version)
    # Untrusted JSON can have any shape: anything unexpected is an error in the bundle.
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise OtaError(_FAILED, "the bundle can't be used: %s" % error)


def _examine(file, version):
    count = 0
    runs = False
    length = file.seek(0, 2)
    # First: in a later format, the records could be different, too.
    once("boot_compatibility").check_beginning(file, length)
    file.seek(0)
    if file.read(3) != once("firmware_kind").ROMFS:
        raise damaged(0)
    size = integer(file)
    first = file.tell()
    end = first + size
    if length < end:
        raise damaged(end)
    for kind, folder, name, start, stop in walk(file, first, end):
        count += 1
        if count > _FILES + 1:
            raise ValueError("it has more than %d files" % _FILES)
        text = str(name, "utf-8")
        if not text.strip(".") or 92 in name:  # a backslash
            raise ValueError("invalid path %s/%s" % (folder, text))
        if count == 1:
            if name != b"ivota.json" or kind == _FOLDER or stop - start > _FACTS:
                raise ValueError("it does not begin with ivota.json")
            file.seek(start)
            facts = json.loads(file.read(stop - start))
            if facts["format"] != _FORMAT or facts["version"] != version:
                raise ValueError(
                    "it has version %s and format %s, not %s and %d"
                    % (facts["version"], facts["format"], version, _FORMAT)
                )
        elif name == b"ivota.json" and not folder:
            raise ValueError("it contains ivota.json twice")
        if name == b"config.json" and not folder and kind == _PLAIN:
            file.seek(start)
            once("identity_lock").check(file, stop - start)
        runs = runs or not folder and name in (b"app.py", b"app.mpy") and kind == _PLAIN
        yield
    if not runs:
        raise ValueError("it contains no app.py")


def walk(file, at, end):
    """Yield every file and folder: (kind, folder, name, start of its content, end).

    The names in a folder ascend, which rules out duplicates; only ivota.json can come first.
    Raises ValueError for anything that a board cannot mount.
    """
    folder = ""
    last = b""
    above = []
    while True:
        while at >= end:
            if not above:
                return
            end, folder, last = above.pop()
        file.seek(at)
        kind = integer(file)
        size = integer(file)
        start = file.tell()
        stop = start + size
        name = b""
        if kind != _PADDING:
            size = integer(file)
            name = file.read(min(size, 256))
            start = file.tell()
            if (
                kind not in (_FOLDER, _PLAIN)
                or not 0 < size == len(name) < 256
                or 47 in name  # a slash
                or min(name) < 32
            ):
                raise damaged(at)
        if not start <= stop <= end:
            raise damaged(at)
        at = stop
        if not name:
            continue
        if name <= last and (last != b"ivota.json" or folder):
            raise ValueError(str(name, "utf-8") + " is out of order")
        last = name
        if kind == _PLAIN:
            file.seek(start)
            if integer(file) != _VERBATIM or integer(file) != stop - file.tell():
                raise damaged(at)
            start = file.tell()
        yield kind, folder, name, start, stop
        if kind == _FOLDER:
            if len(above) == _DEPTH:
                raise damaged(at)
            above.append((end, folder, last))
            folder = folder + "/" + str(name, "utf-8")
            at = start
            end = stop
            last = b""


def damaged(at):
    """Create the error for bytes that are not a record."""
    return ValueError("it is damaged at byte %d" % at)


def integer(file):
    """Read the next integer: seven bits per byte, most significant byte first."""
    value = 0
    for _ in range(5):
        byte = file.read(1)
        if not byte:
            break
        value = value << 7 | byte[0] & 127
        if byte[0] < 128 and not value >> 28:  # beyond this, positions are not small integers
            return value
    raise damaged(file.tell())
