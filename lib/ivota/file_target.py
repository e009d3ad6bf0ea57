"""Store a download in a file, and digest what is on flash.

The file's length is the position of the download: bytes count once they are flushed. They are
flushed where a littlefs block really ends, so that no block is written twice. On FAT, where each
flush writes two more sectors, that is every 64 KiB. The digest covers what is read back once it is
durable.
"""

from micropython import const

from ivota.target_base import Target

_FAT_SYNC = const(65535)  # on FAT durable at each multiple of 64 KiB
_CHUNK_LEAST = const(512)


class FileTarget(Target):
    """A file, with the fields and methods of `Target`, and `file`, which is None until `open`."""

    file = None

    def open(self, digest, layout, most, position=0, etag=None):
        """Open the file for reading and writing.

        `position`: bytes in it, after which the download resumes. `layout`: what
        `firmware_folder.block_layout` returns for its volume. `most`: bytes of the buffer; with
        a larger one, each call does more. If the heap has no free piece of this size, the buffer
        has 512 bytes. Raises OSError if the flash fails.
        """
        self.receiver = "body_download"
        self.digest = digest
        self.etag = etag
        self._fat, self._block_size = layout
        try:
            self.buffer = bytearray(most)
        except MemoryError:  # there is room, but not in one piece
            self.buffer = bytearray(_CHUNK_LEAST)
        self._chunk = len(self.buffer)
        # At least n blocks are full. littlefs keeps pointers in n + 1 blocks: 2 n, minus the
        # number of ones in n's binary digits.
        n = self._blocks = position // self._block_size
        self.end = n * self._block_size
        if n and not self._fat:
            n -= 1
            self.end -= 8 * n
            while n:
                self.end += (n & 1) * 4
                n >>= 1
        while self.end <= position and self.end < self.size:
            self._begin_block()
        self.file = open(self.path, "r+b" if position else "w+b")
        self.file.seek(position)
        self.position = self.durable = position

    def _begin_block(self):
        """Set `end` to the end of the next block, up to which bytes may be written at once."""
        # Block n > 0 of a littlefs file begins with ctz(n) + 1 pointers of 4 bytes.
        n = 0 if self._fat else self._blocks
        end = self.end + self._block_size
        while n:
            end -= 4
            if n & 1:
                break
            n >>= 1
        self._blocks += 1
        self.end = min(end, self.size)

    def receive(self, raw, left):
        """Append up to `left` bytes from the socket, as `Target` says.

        If `is_intact()` afterwards, an exception came from `raw`.
        """
        buffer = self.buffer
        chunk = self._chunk
        n = 1
        while left:
            n = raw.readinto(buffer, left if left < chunk else chunk)
            if not n:
                break
            self.position += n
            self.file.write(buffer, n)
            left -= n
        return n

    def writer(self):
        """Return the file's own function: a method around it would make a delta slower."""
        return self.file.write

    def end_block(self):
        """Make a full block durable if that is due, and begin the next one."""
        position = self.position = self.end
        if not self._fat or not position & _FAT_SYNC or position == self.size:
            self.file.flush()
            self.durable = position
        if position < self.size:
            self._begin_block()

    def digest_more(self, most):
        """Digest up to `most` more bytes of what is on flash; return True if no more are ready.

        Until the file is complete, only whole chunks are digested, so that nothing is allocated.
        """
        stop = self.durable
        chunk = self._chunk
        if stop < self.size:
            stop -= stop % chunk
        most = min(most, stop - self.digested)
        if most > 0:
            file = self.file
            buffer = self.buffer
            file.seek(self.digested)
            while most:
                if most < chunk:
                    chunk = most
                    buffer = memoryview(buffer)[:most]  # type: ignore[assignment]
                file.readinto(buffer)
                self.digest.update(buffer)
                self.digested += chunk
                most -= chunk
            if file.tell() != self.digested:
                raise OSError("the file ends at byte %d" % file.tell())
            file.seek(self.position)
        return self.digested >= stop

    def close(self):
        """Close the file; can be called repeatedly."""
        file, self.file = self.file, None
        if file:
            file.close()

    def is_intact(self):
        """Return whether the file has all received bytes, so that only the connection failed."""
        try:
            return self.file.tell() == self.position < self.end
        except OSError:
            return False
