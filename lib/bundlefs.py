"""Mount a bundle read-only: the downloaded ROMFS image is the file system.

boot.py needs only this module, so that a board can have two copies of all that it needs. The
source ends in the CRC of all earlier lines: a damaged copy refuses to be imported, and boot.py
uses the other.

What boot.py and main.py use of it never changes, because they may come from different releases
(docs/formats.md, "The contract with boards in the field").
"""

import errno
import io
import sys
from binascii import crc32

from micropython import const

# A frozen copy has a bare name, which another file on flash may also have; the boot loader
# verifies the image. The copies on flash are imported by their whole paths.
if __file__[-3:] == ".py" and "/" in __file__:
    _crc = _next = 0
    with open(__file__, "rb") as _copy:
        for _line in _copy:
            # Line ends may have been converted on the way to the board.
            _crc, _next = _next, crc32(_line.rstrip(), _next)
    if _line.rstrip() != b"# %08x" % _crc:
        raise ValueError("%s is damaged: it does not end in # %08x" % (__file__, _crc))
    del _copy, _line, _crc, _next

FORMATS = (2,)  # of the bundles that this module mounts (docs/formats.md)
VERSION = "0.1.0"  # of the package that came with it, which runs if a bundle has none

_STATE = "/ivota-state.json"
_DIR = const(0x4000)
_FILE = const(0x8000)

_MAGIC = const(b"\xd2\xcd\x31")
# Kinds of ROMFS records:
_PADDING = const(1)
_VERBATIM = const(2)
_FOLDER = const(4)
_PLAIN = const(5)
_DEPTH = const(8)  # nested folders


class Bundle:
    """A VFS over the ROMFS image at `path`; ignores bytes after the image.

    Raises ValueError if it is not an image of plain files, OSError if it can't be read.
    """

    def __init__(self, path):
        self._path = path
        self._cwd = "/"
        # Eight bytes per file and folder, because their names would fill the heap: the CRC of the
        # whole path, and the start of its record.
        self._index = b""
        with open(path, "rb") as file:
            if file.read(3) != _MAGIC:
                raise ValueError("not a bundle")
            size = integer(file)
            start = file.tell()
            self._root = _FOLDER, start, start + size
            self._add(file, b"", start, start + size)
            if file.seek(0, 2) < start + size or not self._index:
                raise ValueError("not a bundle")

    def _add(self, file, folder, first, end):
        if folder.count(b"/") > _DEPTH:
            raise ValueError("not a bundle")
        for kind, name, at, start, stop in records(file, first, end):
            path = folder + name
            if self._find(path):
                raise ValueError("duplicate path: " + str(path, "utf-8"))
            self._index += _key(path) + at.to_bytes(4, "little")
            if kind == _FOLDER:
                self._add(file, path + b"/", start, stop)
            else:
                content(file, start, stop)

    def _find(self, path):
        """Return (kind, start, end) of a file's content or a folder, or None."""
        if not path:
            return self._root
        index = self._index
        key = _key(path)
        at = index.find(key)
        while at >= 0:
            if not at % 8:
                place = int.from_bytes(index[at + 4 : at + 8], "little")
                with open(self._path, "rb") as file:
                    kind, name, _, start, stop = next(records(file, place, self._root[2]))
                    # Another path with the same CRC would also need the same last name.
                    if name == path.rpartition(b"/")[2]:
                        if kind == _PLAIN:
                            start = content(file, start, stop)
                        return kind, start, stop
            at = index.find(key, at + 1)
        return None

    def mount(self, _readonly, _mkfs):
        pass

    def umount(self):
        pass

    def chdir(self, path):
        self._cwd = "/" + str(self._name(path), "utf-8")

    def getcwd(self):
        return self._cwd

    def _name(self, path):
        if path[:1] != "/":
            path = self._cwd.rstrip("/") + "/" + path
        return path.strip("/").encode()

    def open(self, path, mode="r"):
        found = self._find(self._name(path))
        if not found or found[0] == _FOLDER:
            raise OSError(errno.ENOENT)
        if set(b"wa+") & set(mode.encode()):
            raise OSError(errno.EACCES)
        return (_File if b"b" in mode.encode() else _Text)(self._path, *found[1:])

    def stat(self, path):
        found = self._find(self._name(path))
        if not found:
            raise OSError(errno.ENOENT)
        if found[0] == _FOLDER:
            return (_DIR, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        return (_FILE, 0, 0, 0, 0, 0, found[2] - found[1], 0, 0, 0)

    def ilistdir(self, path):
        found = self._find(self._name(path))
        if not found or found[0] != _FOLDER:
            raise OSError(errno.ENOENT)
        with open(self._path, "rb") as file:
            for kind, name, _, start, stop in records(file, found[1], found[2]):
                if kind == _PLAIN:
                    start = content(file, start, stop)
                name = str(name, "utf-8")
                yield (name, _FILE, 0, stop - start) if kind == _PLAIN else (name, _DIR, 0, 0)

    def statvfs(self, _path):
        return (1, 1, 0, 0, 0, 0, 0, 0, 1, 255)

    def _refuse(self, *_args):
        raise OSError(errno.EACCES)

    remove = rename = mkdir = rmdir = _refuse


class _File(io.IOBase):
    """A file of the bundle, as bytes."""

    def __init__(self, path, start, stop):
        self._file = open(path, "rb")
        self._start = start
        self.size = stop - start
        self.seek(0)

    def seek(self, offset, whence=0):
        base = (0, self._at if whence == 1 else 0, self.size)[whence]
        self._at = min(max(base + offset, 0), self.size)
        self._file.seek(self._start + self._at)
        return self._at

    def tell(self):
        return self._at

    def readinto(self, buffer):
        n = self._file.readinto(memoryview(buffer)[: self.size - self._at]) or 0
        self._at += n
        return n

    def read(self, n=-1):
        left = self.size - self._at
        data = self._file.read(left if n is None or n < 0 or n > left else n)
        self._at += len(data)
        return data

    def readline(self):
        line = self._file.readline()[: self.size - self._at]
        self._at += len(line)
        return line

    def ioctl(self, request, _arg):
        # The interpreter imports through a buffer whose size it asks for (11), and closes through
        # 4. Anything else is absent: a file number (10) of 0 would be valid.
        if request == 11:
            return 240
        if request != 4:
            return -1
        self._file.close()
        return 0

    def close(self):
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()

    def __iter__(self):
        return self

    def __next__(self):
        line = self.readline()
        if not line:
            raise StopIteration
        return line


class _Text(_File):
    """A file of the bundle, as UTF-8 text."""

    def read(self, n=-1):
        return str(_File.read(self, n), "utf-8")

    def readline(self):
        return str(_File.readline(self), "utf-8")


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
    raise ValueError("not a bundle")


def records(file, at, end):
    """Yield each file and folder from `at` to `end`: (kind, name, position, start, end).

    Raises ValueError for any other record.
    """
    while at < end:
        file.seek(at)
        kind = integer(file)
        size = integer(file)
        start = file.tell()
        stop = start + size
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
                raise ValueError("not a bundle")
        if not start <= stop <= end:
            raise ValueError("not a bundle")
        if kind != _PADDING:
            yield kind, name, at, start, stop
        at = stop


def content(file, start, stop):
    """Return where a file's content begins; it must end at `stop`."""
    file.seek(start)
    if integer(file) != _VERBATIM or integer(file) != stop - file.tell():
        raise ValueError("not a bundle")
    return file.tell()


def _key(path):
    return crc32(path).to_bytes(4, "little")


# Below: what else boot.py needs, in the order of its use.


def load():
    """Return the state as a dictionary, empty if none is valid (ivota.json_file has the
    format).
    """
    import json
    import os

    for name in (_STATE, _STATE + "~"):
        try:
            if os.stat(name)[6] > 16384:
                continue
            with open(name, "rb") as file:
                text = file.read()  # with a number, so much heap would be allocated at once
            head, _, crc = text.rpartition(b'"crc": "')
            if crc == b'%08x"}' % crc32(head):
                state = json.loads(text)
                break
        except Exception:  # missing, or damaged in any way
            pass
    else:
        return {}
    try:
        # The record of a trial's watchdog (ivota.agent_setup): any reset but a soft one stops it.
        if state.get("armed") == 1 and not reset("SOFT_RESET"):
            state["armed"] = 0
            save(state)
    except Exception:  # the active version starts even if the flash can't be written
        pass
    return state


def save(state):
    """Replace the state: after a power cut at any moment, the old or the new one is read."""
    import json
    import os

    state.pop("crc", None)
    head = json.dumps(state).encode()[:-1] + b", "
    with open(_STATE + "~", "wb") as file:
        file.write(b'%s"crc": "%08x"}' % (head, crc32(head)))
    os.rename(_STATE + "~", _STATE)


def reset(name):
    """Return whether this start follows a reset with this cause; False if the port lacks it."""
    import machine

    return machine.reset_cause() == getattr(machine, name, None)


def crashed(trial):
    """Return whether the version on trial crashed in its last run.

    A watchdog reset always counts. A hard reset counts only with a recorded death, because a panic
    has the same cause as `machine.reset()`. No other reset counts: a USB port, a debugger or a
    weak supply are not the version's fault.
    """
    died = trial.get("died")
    if isinstance(died, str):  # evidence of one crash: in a list once it was counted
        trial["died"] = [died]
        return reset("WDT_RESET") or reset("HARD_RESET")
    return reset("WDT_RESET")


def slot():
    """Return the label of the running ESP32 partition; None elsewhere."""
    try:
        from esp32 import Partition

        return Partition(Partition.RUNNING).info()[4]
    except (ImportError, AttributeError, OSError):
        return None


def watch():
    """Start the watchdog for the time until ivota.agent_setup takes it over.

    Not after a soft reset: it may come from a person at the prompt, and nobody would feed it.
    """
    import machine

    if reset("SOFT_RESET"):
        return
    for timeout in (60000, 8000):  # the limit of some ports is eight seconds
        try:
            machine.WDT(timeout=timeout)
            break
        except Exception:  # each port refuses in its own way, and some lack it
            pass


def start(path, sums=None):
    """Mount the bundle at `path` as /app, first in the module path.

    `sums` maps paths of bundles to their MD5. Raises OSError for a bundle that can't be read or
    was changed, ValueError for one that is not an archive of plain files.
    """
    import vfs

    md5 = sums and sums.get(path)
    if md5 and md5 != md5_of(path):
        raise OSError(path + " has changed on the flash")
    vfs.mount(Bundle(path), "/app")
    sys.path[:0] = ["/app", "/app/lib"]
    # Only the bundle object stays in the heap, without the code that created it.
    Bundle.__init__ = Bundle._add = None  # type: ignore[method-assign]
    for name in ("load", "save", "reset", "crashed", "slot", "watch", "start", "free", "md5_of"):
        globals().pop(name, None)


def free():
    """Leave only what an updater asks for in the heap: no bundle is mounted."""
    # A module keeps all the constants of its code, a class does not.
    kept = {"FORMATS": FORMATS, "VERSION": VERSION}
    sys.modules["bundlefs"] = type("bundlefs", (), kept)  # type: ignore[assignment]


def md5_of(path):
    import hashlib
    from binascii import hexlify

    digest = hashlib.md5()
    buffer = memoryview(bytearray(2048))
    with open(path, "rb") as file:
        while True:
            n = file.readinto(buffer)
            if not n:
                return hexlify(digest.digest()).decode()
            digest.update(buffer[:n])


# 8c4b7301
