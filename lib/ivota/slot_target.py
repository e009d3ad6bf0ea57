"""Store a download in an OTA slot, and digest what is on flash.

Bytes count once their chunk is programmed; later bytes are in RAM. The checkpoint records the
position every 16 blocks. After a power cut, the download resumes there, so each block is erased
when it is begun, whatever it contains. The digest is computed after the last byte.
"""

import io

from micropython import const

from ivota.target_base import Target

_CHUNK = const(512)
_BLOCK = const(4096)
_SYNC = const(65535)  # save the position at each multiple of 64 KiB


class SlotTarget(Target):
    """The inactive OTA slot, with the fields and methods of `Target`.

    `part` is its partition. A download resumes at `position`; a partial block is erased and
    written again. `path` is the file that is deleted with this firmware: its checkpoint, or the
    patch from which it is built.
    """

    receiver = "body_download"

    def __init__(self, path, checkpoint, size, digest, part, position=0, etag=None):
        super().__init__(path, checkpoint, size, etag, digest)
        self.slot = part.info()[4]
        self._part = part
        if position < size:
            position -= position % _BLOCK
        self.position = self.durable = position
        self.end = min(position - position % _BLOCK + _BLOCK, size)
        self.buffer = bytearray(_CHUNK)
        self._gathered = io.BytesIO(_CHUNK)  # collects pieces that are shorter than a chunk

    def receive(self, raw, left):
        """Take up to `left` bytes from the socket, as `Target` says."""
        buffer = self.buffer
        n = 1
        while left:
            most = _CHUNK - self.position % _CHUNK
            n = raw.readinto(buffer, left if left < most else most)
            if not n:
                break
            self.position += n
            left -= n
            if n < _CHUNK:
                self._gather(n)
            else:
                self._program()
        return n

    def writer(self):
        """Return the function that appends a piece, as `Target` says."""
        pieces = io.BytesIO()

        def write(buffer, at, n):
            pieces.seek(0)
            pieces.write(buffer, at, n)
            pieces.seek(0)
            self.receive(pieces, n)

        return write

    def _gather(self, n):
        """Keep n bytes in RAM until the chunk is complete."""
        gathered = self._gathered
        gathered.write(self.buffer, n)
        size = gathered.tell()
        if size < _CHUNK and self.position < self.size:
            return
        gathered.seek(0)
        gathered.readinto(self.buffer)
        gathered.seek(0)
        # Erased flash follows the image, as if nothing else had been programmed.
        while size < _CHUNK:
            self.buffer[size] = 255
            size += 1
        self._program()

    def _program(self):
        """Program the chunk in the buffer; the first one of a block erases the block."""
        at = self.durable
        part = self._part
        if not at % _BLOCK:
            part.ioctl(6, at // _BLOCK)
        part.writeblocks(at // _BLOCK, self.buffer, at % _BLOCK)
        self.durable = self.position

    def end_block(self):
        """Save the position of a full block if that is due, and begin the next one."""
        position = self.position
        # A patch's result has no checkpoint: it is built again.
        if self.checkpoint and (not position & _SYNC or position == self.size):
            self.save("position", position)
        self.end = min(position + _BLOCK, self.size)

    def digest_more(self, most):
        """When all bytes have arrived, digest up to `most` bytes of the flash; return True at
        the end.
        """
        return self.position < self.size or self._digest(most)

    # A function of its own, because its frame is too large for the path of each block.
    def _digest(self, most):
        part = self._part
        buffer = self.buffer
        at = self.digested
        stop = min(at + most, self.size)
        while at < stop:
            part.readblocks(at // _BLOCK, buffer, at % _BLOCK)
            n = min(stop - at, _CHUNK)
            self.digest.update(buffer if n == _CHUNK else memoryview(buffer)[:n])
            at += n
        self.digested = at
        return at >= self.size

    def is_intact(self):
        """Return whether all received bytes are programmed or in RAM, so that only the connection
        failed.
        """
        return self.durable + self._gathered.tell() == self.position < self.end
