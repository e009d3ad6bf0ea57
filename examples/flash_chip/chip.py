"""Download firmware to a separate flash chip: a block device as a file, and a target's functions.

docs/design.md explains how to add this target to the package, as lib/ivota/chip.py.
"""

import hashlib

from micropython import const

from ivota import once
from ivota.file_writer import check, fill  # noqa: F401 (functions of the target)

_BLOCK = const(4096)
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


def open_target(target, device, stem, push):
    """Resume at the position in this firmware's checkpoint, or start from the beginning."""
    download_target = once("download_target")
    target.kind = "chip"
    # This path is only a name: `on_firmware` reads the chip.
    once("firmware_files").place(target, stem, push.size)
    saved = once("json_file").load(target.checkpoint)
    if not saved or not download_target.is_of(saved, push):
        saved = dict(download_target.identity(push), position=0)
        once("json_file").save(target.checkpoint, saved)
    target.etag = saved.get("etag")
    target.position = target.durable = saved["position"]
    target.end = min(target.position // _BLOCK * _BLOCK + _BLOCK, target.size)
    target.checked = 0
    target.digest = hashlib.md5()
    target.buffer = bytearray(512)
    target.chunk = len(target.buffer)
    target.file = Blocks(device)
    target.file.seek(target.position)


def end_block(target):
    """Write a full block, and save the position from time to time."""
    target.file.flush()
    target.durable = position = target.position
    target.end = min(target.end + _BLOCK, target.size)
    if not position & _SAVE_MASK:
        once("checkpoint").keep(target, "position", position)
