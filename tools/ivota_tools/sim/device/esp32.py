"""Simulate the module `esp32`: partitions with two OTA slots, or without any."""

# Rarely used code is loaded on demand, because on a real board none of this is in the heap.

import os
import sys

import machine
from micropython import const

# Error codes of esp-idf; MicroPython raises OSError with their negatives.
_ENOENT = const(2)
_INVALID_ARG = const(-0x102)
_INVALID_SIZE = const(-0x104)
_NOT_FOUND = const(-0x105)
_FLASH_OP_FAIL = const(-0x6001)

_flash = None  # all sizes
_running = None  # a row of _rows
_rows = ()  # type, subtype, first block, blocks, label
_path = None  # of the loaded module


def _set(flash, blocks, slots, slot, path):
    global _flash, _running, _rows, _path
    _flash = flash
    if slots:
        _rows = (
            (0, 0x10, blocks + 2, slots, "ota_0"),
            (0, 0x11, blocks + 2 + slots, slots, "ota_1"),
            (1, 0x00, blocks, 2, "otadata"),
            (1, 0x81, 0, blocks, "vfs"),
        )
    else:  # the partition table of the plain variant, whose image is not on the flash here
        _rows = (0, 0x00, blocks, 0, "factory"), (1, 0x81, 0, blocks, "vfs")
    _running = _rows[slot]
    _path = path.rpartition("/")[0] or "."


# Named after functions of esp-idf. From the host's file system, mounted briefly.
# Without otadata they fail as in esp_ota_ops.c: read_otadata, esp_ota_set_boot_partition.
def _idf(name, *args):
    if not _ota():
        raise OSError(_NOT_FOUND)
    os.mount(os.VfsPosix(_path), "/_sim")
    sys.path.insert(0, "/_sim")
    try:
        module = __import__("_sim_ota")
    finally:
        sys.path.pop(0)
        os.umount("/_sim")
    del sys.modules["_sim_ota"]
    return getattr(module, name)(_flash, _rows[2][2], *args)


def _ota():
    return [row[4] for row in _rows if row[0] == 0 and row[1] >> 4 == 1]


def _failed(error):
    if error:
        raise OSError(_FLASH_OP_FAIL)


# Imitates ports/esp32/esp32_partition.c: esp32_partition_make_new, esp32_partition_find,
# esp32_partition_info, esp32_partition_readblocks, esp32_partition_writeblocks (without an offset
# it erases first), esp32_partition_ioctl, esp32_partition_set_boot,
# esp32_partition_get_next_update,
# esp32_partition_mark_app_valid_cancel_rollback; each OSError for ports/esp32/mphalport.c's
# check_esp_err_.
class Partition:
    BOOT = 0
    RUNNING = 1
    TYPE_APP = 0
    TYPE_DATA = 1

    def __init__(self, id, block_size=4096):
        if block_size != 4096:
            raise ValueError("block_size must be 4096")
        if id == 0:
            if not _ota():
                raise OSError(_ENOENT)
            self._row = _rows[_idf("boot_slot")]
        elif id == 1:
            self._row = _running
        else:
            found = [row for row in _rows if row[4] == id]
            if not found:
                raise OSError(_ENOENT)
            self._row = found[0]

    @staticmethod
    def find(type=0, subtype=0xFF, label=None, block_size=4096):
        return [
            Partition(row[4], block_size)
            for row in _rows
            if row[0] == type and subtype in (0xFF, row[1]) and label in (None, row[4])
        ]

    def info(self):
        kind, subtype, first, blocks, label = self._row
        return kind, subtype, first << 12, blocks << 12, label, False

    def readblocks(self, block, buf, offset=0):
        self._check(block, len(buf), offset)
        _failed(_flash.readblocks(self._row[2] + block, buf, offset))

    def writeblocks(self, block, buf, offset=-1):
        if offset < 0:
            if len(buf) & 4095:
                raise OSError(_INVALID_SIZE)
            self._check(block, len(buf), 0)
            for n in range(len(buf) >> 12):
                self.ioctl(6, block + n)
            offset = 0
        self._check(block, len(buf), offset)
        self._protect()
        _failed(_flash.writeblocks(self._row[2] + block, buf, offset))

    def ioctl(self, op, arg):
        if op == 4:
            return self._row[3]
        if op == 5:
            return 4096
        if op == 6:
            self._check(arg, 4096, 0)
            self._protect()
            _failed(_flash.ioctl(6, self._row[2] + arg))
        return 0 if op in (1, 2, 3, 6) else None

    def _check(self, block, size, offset):
        if block < 0 or offset < 0 or (block << 12) + offset + size > self._row[3] << 12:
            raise OSError(_INVALID_SIZE)

    # esp-idf aborts, too: this would overwrite the running code.
    def _protect(self):
        if self._row is _running:
            print("sim: attempt to write to the running partition")
            machine._libc.func("v", "abort", "")()

    def set_boot(self):
        kind, subtype, first, blocks, _ = self._row
        if kind:
            raise OSError(_INVALID_ARG)
        _idf("set_boot", subtype & 15, first, blocks)

    def get_next_update(self):
        found = _ota()
        if not found:
            raise OSError(_ENOENT)
        # The next slot, in a circle; after a single slot, it is the same one.
        at = found.index(self._row[4]) + 1 if self._row[4] in found else 0
        return Partition(found[at % len(found)])

    @classmethod
    def mark_app_valid_cancel_rollback(cls):
        _idf("mark_valid")
