"""A bundle mounted read-only: the uncompressed archive that was downloaded is the file system.

boot.py needs this module, and has in it all else that it needs of ours: one file can lie on a
board twice. Its source ends in the CRC of all the lines before: a copy in which that is not right
refuses to be imported, and boot.py takes the other.
"""

import errno
import io
import sys
from binascii import crc32

if __file__[-3:] == ".py":
    _crc = _next = 0
    try:
        with open(__file__, "rb") as _copy:
            for _line in _copy:
                # Line ends may have been changed on the way to the board.
                _crc, _next = _next, crc32(_line.rstrip(), _next)
        if _line.rstrip() != b"# %08x" % _crc:
            raise ValueError("%s is damaged: else it would end in # %08x" % (__file__, _crc))
        del _copy, _line
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        # Frozen into the firmware: there is no such file, and the boot loader verifies the image.
    del _crc, _next

_STATE = "/ivota-state.json"
_DIR = 0x4000
_FILE = 0x8000


class Bundle:
    """A VFS over the ustar archive at `path`.

    Raises ValueError for what is not an archive of plain files, OSError when it can't be read.
    """

    def __init__(self, path):
        self._path = path
        self._cwd = "/"
        # Of each file and folder six bytes, for names would fill the heap: three of its name's
        # CRC, and three that say in which block its header lies, or that of its first file.
        self._index = b""
        header = bytearray(512)
        at = 0
        last = b""
        with open(path, "rb") as file:
            while True:
                name, size = member(file, at, header)
                if not name:
                    break
                folder = name.rpartition(b"/")[0]
                while folder and folder != last and not self._find(folder):
                    self._add(folder, at)
                    folder = folder.rpartition(b"/")[0]
                last = name.rpartition(b"/")[0]
                if self._find(name):
                    raise ValueError("twice in the bundle: " + str(name, "utf-8"))
                self._add(name, at)
                at += 512 + (size + 511) // 512 * 512
        if at == 0:
            raise ValueError("an empty bundle")

    def _add(self, name, at):
        self._index += _key(name) + (at // 512).to_bytes(3, "little")

    def _find(self, name):
        """(where it begins, its size) of a file, a size of -1 for a folder, or None."""
        index = self._index
        key = _key(name)
        at = index.find(key)
        while at >= 0:
            if not at % 6:
                start = int.from_bytes(index[at + 3 : at + 6], "little") * 512
                with open(self._path, "rb") as file:
                    file.seek(start)
                    header = file.read(136)
                    file.seek(start + 345)
                    found = _name(header, file.read(155))
                if found == name:
                    return start + 512, int(header[124:].partition(b"\0")[0], 8)
                if found[: len(name) + 1] == name + b"/":
                    return start, -1
            at = index.find(key, at + 1)
        return None

    def _below(self, name):
        """The names and sizes of what lies in a folder and below it; the root's is ""."""
        base = name + b"/" if name else b""
        header = bytearray(512)
        at = 0
        with open(self._path, "rb") as file:
            while True:
                found, size = member(file, at, header)
                if not found:
                    return
                if found[: len(base)] == base:
                    yield str(found[len(base) :], "utf-8"), size
                at += 512 + (size + 511) // 512 * 512

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
        if not found or found[1] < 0:
            raise OSError(errno.ENOENT)
        if set(b"wa+") & set(mode.encode()):
            raise OSError(errno.EACCES)
        return (_File if b"b" in mode.encode() else _Text)(self._path, *found)

    def stat(self, path):
        name = self._name(path)
        found = self._find(name) if name else (0, -1)
        if not found:
            raise OSError(errno.ENOENT)
        if found[1] < 0:
            return (_DIR, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        return (_FILE, 0, 0, 0, 0, 0, found[1], 0, 0, 0)

    def ilistdir(self, path):
        seen = set()
        for known, size in self._below(self._name(path)):
            entry, _, below = known.partition("/")
            if entry not in seen:
                seen.add(entry)
                yield (entry, _DIR if below else _FILE, 0, size)

    def statvfs(self, _path):
        return (512, 512, 0, 0, 0, 0, 0, 0, 1, 255)

    def _refuse(self, *_args):
        raise OSError(errno.EACCES)

    remove = rename = mkdir = rmdir = _refuse


class _File(io.IOBase):
    """One file of the bundle, as bytes."""

    def __init__(self, path, start, size):
        self._file = open(path, "rb")
        self._start = start
        self.size = size
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
        # The interpreter closes through 4 (MP_STREAM_CLOSE); to all else it is told that there is
        # no such thing: no buffer size of our own (11), and no file number (10), where 0 is one.
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
    """One file of the bundle, as text in UTF-8."""

    def read(self, n=-1):
        return str(_File.read(self, n), "utf-8")

    def readline(self):
        return str(_File.readline(self), "utf-8")


def member(file, at, header):
    """(name, size) of the plain file whose header lies at `at`; an empty name at the end.

    `header` is a buffer of 512 bytes. Raises ValueError for any other kind of member, and for one
    of a GiB or more, behind which no place would fit into a small integer.
    """
    file.seek(at)
    if file.readinto(header) != 512 or not header[0]:
        return b"", 0
    checksum = int(_text(header, 148, 8).strip() or b"0", 8)
    header[148:156] = b"        "
    size = int(_text(header, 124, 12).strip(), 8)
    plain = header[257:262] == b"ustar" and header[156] in b"0\0"
    name = _name(header, header[345:500])
    if checksum != sum(header) or not plain or size >> 30 or min(name) < 32:
        raise ValueError("not a bundle")
    return name, size


def _text(header, start, length):
    return bytes(header[start : start + length]).partition(b"\0")[0]


def _name(header, prefix):
    name = _text(header, 0, 100)
    prefix = _text(prefix, 0, 155)
    return prefix + b"/" + name if prefix else name


def _key(name):
    return crc32(name).to_bytes(4, "little")[:3]


# What boot.py needs besides, in the order in which it does.


def load():
    """The state as a dictionary, empty where none is whole (ivota.jsonfile has the format)."""
    import json
    import os

    for name in (_STATE, _STATE + "~"):
        try:
            if os.stat(name)[6] > 16384:
                continue
            with open(name, "rb") as file:
                text = file.read()  # with a number so much would be taken from the heap at once
            head, _, crc = text.rpartition(b'"crc": "')
            if crc == b'%08x"}' % crc32(head):
                state = json.loads(text)
                break
        except Exception:  # missing, or damaged in whatever way
            pass
    else:
        return {}
    try:
        # The note about a trial's watchdog (of ivota.startup): all but a soft reset stop that.
        if state.get("armed") == 1 and not reset("SOFT_RESET"):
            state["armed"] = 0
            save(state)
    except Exception:  # the active version starts even if the flash can't be written
        pass
    return state


def save(state):
    """Replace the state: after a power cut at any instant the old or the new one is read."""
    import json
    import os

    state.pop("crc", None)
    head = json.dumps(state).encode()[:-1] + b", "
    with open(_STATE + "~", "wb") as file:
        file.write(b'%s"crc": "%08x"}' % (head, crc32(head)))
    os.rename(_STATE + "~", _STATE)


def reset(name):
    """Whether this start follows a reset with the cause of that name; False if there is none."""
    import machine

    return machine.reset_cause() == getattr(machine, name, None)


def crashed(trial):
    """Whether the version on trial crashed when it ran last.

    The watchdog's reset always counts. A hard reset counts only with a recorded death, because
    the cause of a panic and of `machine.reset()` is the same. No other reset counts: those of a
    USB port, a debugger or a weak supply are not the version's fault.
    """
    died = trial.get("died")
    if isinstance(died, str):  # evidence of one crash: in a list it was counted
        trial["died"] = [died]
        return reset("WDT_RESET") or reset("HARD_RESET")
    return reset("WDT_RESET")


def slot():
    """The label of the ESP32 partition that runs; None elsewhere."""
    try:
        from esp32 import Partition

        return Partition(Partition.RUNNING).info()[4]
    except (ImportError, AttributeError, OSError):
        return None


def watch():
    """Have the board reset if it hangs before ivota.startup takes the watchdog over.

    Not after a soft reset: a person at the prompt may be who made it, and nobody would feed it.
    """
    import machine

    if reset("SOFT_RESET"):
        return
    for timeout in (60000, 8000):  # some ports take no more than eight seconds
        try:
            machine.WDT(timeout=timeout)
            break
        except Exception:  # each port refuses in its own way, and some have none
            pass


def start(path, sums=None):
    """Mount the bundle at `path` as /app, first in the module path.

    `sums` has the MD5 of bundles by their path. Raises OSError for a bundle that can't be read or
    is not what was installed, ValueError for one that is no archive of plain files.
    """
    import vfs

    md5 = sums and sums.get(path)
    if md5 and md5 != md5_of(path):
        raise OSError(path + " is not what was installed")
    vfs.mount(Bundle(path), "/app")
    sys.path[:0] = ["/app", "/app/lib"]
    # Of this module only the bundle stays in the heap, without what it was made by.
    Bundle.__init__ = Bundle._add = None  # type: ignore[method-assign]
    for name in ("load", "save", "reset", "crashed", "slot", "watch", "start", "md5_of"):
        globals().pop(name, None)


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


# 28a56e97
