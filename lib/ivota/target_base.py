"""The base of the targets: where firmware is stored, and how much of it is there."""

import binascii

from micropython import const

from ivota import OtaError, once

_MISMATCH = const(-4)


class Target:
    """Firmware that is being downloaded or built from a patch.

    Until the first bytes say whether the firmware goes into a file or a slot, a download's target
    is a `FileTarget` that is not open: it can be discarded, but it can't take a byte. The
    subclasses add these methods, which allocate nothing while more blocks follow:

    receive(raw, left): read up to `left` bytes from a non-blocking socket; return the result of
        the last `readinto`, which is None if no data is ready, 0 at the end of the stream
    writer(): return a function (buffer, at, n) that appends `n` bytes of a buffer, from `at` on;
        `position` need not include them before `end_block`
    end_block(): at `end`, which no call of these two may pass, begin the next block; first flush
        a file, or save a slot's position, if that is due
    digest_more(most): read back and digest up to `most` bytes; return True if no more are ready
    is_intact(): whether the flash has taken all received bytes, so that only the connection failed

    Its fields:

    path: the file; for a slot, its checkpoint, its only file
    checkpoint: the path of the checkpoint; None for a patch's result
    size: bytes of the whole firmware
    etag: the server's ETag of these bytes, or None
    receiver: the phase that takes the first byte of a response
    slot: the label of the OTA slot; None for a file
    position: received bytes
    durable: how many of them are on flash. After a power cut, a file's download resumes there, a
        slot's at the position in its checkpoint
    digested: how many of those are in the digest
    digest: of all bytes: MD5 of a download, SHA-256 of a patch's result
    end: the position at which the current block ends
    buffer: for received and for digested data
    """

    receiver = "slot_or_file"
    slot = None

    def __init__(self, path, checkpoint, size, etag=None, digest=None):
        self.path = path
        self.checkpoint = checkpoint
        self.size = size
        self.etag = etag
        self.digest = digest
        self.position = self.durable = self.digested = self.end = 0

    def note_etag(self, etag):
        """Save the server's ETag, for If-Range in the next request; OSError."""
        if etag and etag != self.etag:
            self.etag = etag
            self.save("etag", etag)

    def save(self, key, value):
        """Save this key in the checkpoint, with a write only if the value changes; OSError."""
        json_file = once("json_file")
        values = json_file.load(self.checkpoint) or {}
        if values.get(key) != value:
            values[key] = value
            json_file.save(self.checkpoint, values)

    def stop(self):
        """Close so that the download can be resumed; OSError.

        A file then has all received bytes. A slot's last, incomplete block is downloaded again.
        """
        self.close()
        if self.position:
            self.save("position", self.position)

    def verify(self, md5, fetched):
        """Compare with the pushed MD5 and end the download; OtaError(-4) if they differ.

        If no block was `fetched`, all bytes were on flash already and may be damaged, so a retry
        is worthwhile.
        """
        found = binascii.hexlify(self.digest.digest()).decode()
        if found != md5:
            raise OtaError(_MISMATCH, "wrong MD5: " + found, not fetched)
        self.close()
        # A slot's checkpoint stays until the image is confirmed: it is not downloaded again.
        if not self.slot:
            once("json_file").remove(self.checkpoint)

    def discard(self):
        """Close, and delete everything of this firmware."""
        try:
            self.close()
        except OSError:
            pass
        self.position = 0
        once("json_file").remove(self.path)
        once("json_file").remove(self.checkpoint)

    def close(self):
        """Close what is open; can be called repeatedly."""
