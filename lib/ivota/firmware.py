"""`FirmwareFile`: a part-downloaded firmware on a file system, its durable length and digest."""

import binascii
import hashlib
import os

from micropython import const

from ivota import jsonfile
from ivota.errors import FAILED, MISMATCH, OtaError

_CHUNK = const(512)
_SAFE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"


def file_stem(version):
    """The name under which a version is kept; one that is not a safe file name is hashed."""
    if 0 < len(version) <= 32 and version[0] != "." and all(char in _SAFE for char in version):
        return version
    return binascii.hexlify(hashlib.sha256(version.encode()).digest()[:8]).decode()


def size_of(path):
    """Bytes in the file, -1 where there is none."""
    try:
        return os.stat(path)[6]
    except OSError:
        return -1


class FirmwareFile:
    """A target for downloads: `<version>.bin`, with `<version>.json` beside it while unfinished.

    The length of the file is the position: bytes count once flushed, and they are flushed where
    a littlefs block truly ends, so that no block is written twice. The digest is taken of what
    is read back. `keep` is a path that is never removed, `spare` one that goes only when the
    room is needed.
    """

    def __init__(self, directory, keep=None, spare=None):
        self._directory = directory
        self._keep = keep
        self._spare = spare
        self._file = None
        self._buffer = bytearray(_CHUNK)

    def open(self, push):
        """Make ready for `push` and return the offset at which its download goes on.

        Raises OtaError(-5) when there is no room, OSError when the flash fails.
        """
        base = self._directory + "/" + file_stem(push.version)
        self.path = base + ".bin"
        self._json = base + ".json"
        self.size = push.size
        try:
            os.mkdir(self._directory)
        except OSError:
            pass
        known = jsonfile.load(self._json)
        length = size_of(self.path)
        if length > push.size or not self._mine(known, push, length):
            self.discard()
            known = None
        if known is None:
            self._make_room()
            self._checkpoint = {
                "version": push.version,
                "md5sum": push.md5,
                "file_size": push.size,
                "position": 0,
            }
            jsonfile.save(self._json, self._checkpoint)
        else:
            self._checkpoint = known
        length = max(size_of(self.path), 0)
        self._file = open(self.path, "r+b" if length else "w+b")
        self._file.seek(length)
        self.position = self.durable = length
        self._block_size = os.statvfs(self._directory)[0]
        self._blocks = self._end = 0
        while self._end <= length:
            self._next_end()
        self.rewind()
        return length

    def _mine(self, known, push, length):
        # A whole file without a checkpoint was verified once: worth a look before a download.
        if known is None:
            return length == push.size
        return (
            known.get("md5sum") == push.md5
            and known.get("file_size") == push.size
            and known.get("version") == push.version
        )

    def _make_room(self):
        """Remove what no one needs; OtaError when the firmware does not fit even so."""
        for name in os.listdir(self._directory):
            path = self._directory + "/" + name
            if path not in (self._keep, self._spare, self.path):
                try:
                    os.remove(path)
                except OSError:
                    pass  # a folder: not ours; whether it stands in the way is seen below
        if self._lacks() and self._spare and self._spare != self.path:
            jsonfile.remove(self._spare)
        lacks = self._lacks()
        if lacks:
            raise OtaError(FAILED, "no room: %d KiB more are needed" % lacks)

    def _lacks(self):
        stat = os.statvfs(self._directory)
        # One block in 500 for directories, and some for the small files that are replaced.
        missing = self.size // stat[0] + self.size // (stat[0] * 500) + 4 - stat[3]
        return missing * (stat[0] // 512) // 2 if missing > 0 else 0

    def _next_end(self):
        # Block n > 0 of a littlefs file begins with ctz(n) + 1 pointers of 4 bytes.
        n = self._blocks
        self._end += self._block_size
        while n:
            self._end -= 4
            if n & 1:
                break
            n >>= 1
        self._blocks += 1

    def room(self):
        """Bytes that may be written before the block ends; 0 when the firmware is whole."""
        return min(self._end, self.size) - self.position

    def write(self, buffer, n):
        """Append the first n bytes (at most `room()`); True when that made a block durable."""
        self._file.write(buffer, n)
        self.position += n
        if self.position == self._end or self.position == self.size:
            self._file.flush()
            self.durable = self.position
            self._next_end()
            return True
        return False

    def rewind(self):
        """Start the digest again from the first byte."""
        self._digest = hashlib.md5()
        self.checked = 0

    def check(self, most):
        """Digest up to `most` bytes more of what is on flash; True when there is no more for now.

        Only whole chunks are taken until the file is whole, so that nothing is allocated.
        """
        file = self._file
        stop = self.durable
        if stop < self.size:
            stop -= stop % _CHUNK
        if self.checked >= stop:
            return True
        file.seek(self.checked)
        while self.checked < stop and most > 0:
            n = file.readinto(self._buffer, min(_CHUNK, stop - self.checked))
            if n == _CHUNK:
                self._digest.update(self._buffer)
            elif n:
                self._digest.update(memoryview(self._buffer)[:n])
            else:
                raise OSError("the file ends at %d" % self.checked)
            self.checked += n
            most -= n
        file.seek(self.position)
        return self.checked >= stop

    def commit(self):
        """Make all that was written durable, say so in the checkpoint, and close."""
        self.close()
        if self.position != self._checkpoint.get("position"):
            self._checkpoint["position"] = self.position
            jsonfile.save(self._json, self._checkpoint)

    def note(self, etag):
        """Keep the server's name for these bytes, for the next request's If-Range."""
        if etag and etag != self.etag():
            self._checkpoint["etag"] = etag
            jsonfile.save(self._json, self._checkpoint)

    def etag(self):
        """What `note` kept, or None."""
        return self._checkpoint.get("etag")

    def finish(self):
        """Compare with the pushed MD5 and end the download; OtaError(-4) if they differ."""
        found = binascii.hexlify(self._digest.digest()).decode()
        if found != self._checkpoint["md5sum"]:
            raise OtaError(MISMATCH, "the MD5 is " + found)
        self.close()
        jsonfile.remove(self._json)

    def close(self):
        """Close the file; more than once is fine."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()

    def discard(self):
        """Close, and leave nothing of this firmware behind."""
        try:
            self.close()
            os.remove(self.path)
        except OSError:
            pass
        jsonfile.remove(self._json)
