"""Download firmware to a separate flash chip: a block device as a file, and its target.

docs/extending.md explains how to add this target to the package, as lib/ivota/chip.py.
"""

import hashlib

from micropython import const

from ivota import once
from ivota.file_target import FileTarget
from ivota.target_base import Target

_BLOCK = const(4096)
_CHUNK = const(512)
_SAVE_MASK = const(65535)  # save the position at each multiple of 64 KiB


class Blocks:
    """A file on `device`, which has `readblocks` and `writeblocks` of 4096 bytes each."""

    def __init__(self, device):
        self._device = device
        self._block = bytearray(_BLOCK)
        self._number = -1
        self._changed = False
        self._position = 0

    def tell(self):
        return self._position

    def seek(self, position):
        self._position = position

    def write(self, buffer, n):
        self._copy(buffer, n, True)

    def readinto(self, buffer, n=0):
        self._copy(buffer, n or len(buffer), False)

    def flush(self):
        if self._changed:
            self._device.writeblocks(self._number, self._block)
            self._changed = False

    close = flush

    def _copy(self, buffer, size, write):
        done = 0
        while done < size:
            number, start = divmod(self._position, _BLOCK)
            if number != self._number:
                self.flush()
                self._device.readblocks(number, self._block)
                self._number = number
            n = min(_BLOCK - start, size - done)
            outside = memoryview(buffer)[done : done + n]
            inside = memoryview(self._block)[start : start + n]
            if write:
                inside[:] = outside
                self._changed = True
            else:
                outside[:] = inside
            done += n
            self._position += n


class ChipTarget(FileTarget):
    """The chip as a file, which resumes at the position in the checkpoint."""

    receiver = "body_download"

    def __init__(self, target, device, saved):
        # This path is only a name: `on_firmware` reads the chip.
        Target.__init__(
            self, target.path, target.checkpoint, target.size, saved.get("etag"), hashlib.md5()
        )
        self.buffer = bytearray(_CHUNK)
        self._chunk = _CHUNK
        self.position = self.durable = saved["position"]
        self.end = min(self.position // _BLOCK * _BLOCK + _BLOCK, self.size)
        self.file = Blocks(device)
        self.file.seek(self.position)

    def end_block(self):
        """Write a full block, and save the position from time to time."""
        self.file.flush()
        self.durable = position = self.position
        self.end = min(self.end + _BLOCK, self.size)
        if not position & _SAVE_MASK:
            self.save("position", position)


def open_target(target, device, push):
    """Return the target that resumes this firmware, or starts from the beginning."""
    download_preparation = once("download_preparation")
    saved = once("json_file").load(target.checkpoint)
    if not saved or not download_preparation.matches(saved, push):
        saved = dict(download_preparation.identity(push), position=0)
        once("json_file").save(target.checkpoint, saved)
    return ChipTarget(target, device, saved)
