"""Handle otadata and images like esp-idf, for the boot loader and for `esp32`."""

# Written after these of esp-idf: in bootloader_support/src/bootloader_common.c
# bootloader_common_ota_select_crc, bootloader_common_ota_select_valid and
# bootloader_common_get_active_otadata; in app_update/esp_ota_ops.c esp_rewrite_ota_data,
# esp_ota_set_boot_partition and esp_ota_mark_app_valid_cancel_rollback; in
# bootloader_support/src/esp_image_format.c esp_image_verify.

import binascii
import hashlib
import struct

from micropython import const

_NEW = const(0)
_VALID = const(2)
_INVALID = const(3)
_ABORTED = const(4)

_BLANK = 0xFFFFFFFF
_SEQ = const(0)
_STATE = const(1)
_CRC = const(2)

_FAIL = const(-1)
_OTA_VALIDATE_FAILED = const(-0x1503)
_FLASH_OP_FAIL = const(-0x6001)
_SLOTS = const(2)
_CHIP = const(0)  # ESP32
_CHUNK = const(512)


def read(flash, at, buf):
    """Fill `buf` from offset `at` of the flash. Raises OSError."""
    if flash.readblocks(at >> 12, buf, at & 4095):
        raise OSError(_FLASH_OP_FAIL)
    return buf


# --- otadata: two sectors from block `at` on, an entry in each


def entries(flash, at):
    """Return [sequence, state, CRC] of each sector. Raises OSError."""
    return [
        list(struct.unpack("<I20xII", read(flash, (at + n) << 12, bytearray(32)))) for n in (0, 1)
    ]


def crc(entry):
    return binascii.crc32(struct.pack("<I", entry[_SEQ]), _BLANK)


def empty(entry):
    return entry[_SEQ] == _BLANK or entry[_STATE] == _INVALID or entry[_STATE] == _ABORTED


def active(found):
    """Return the number of the valid entry with the highest sequence, or -1."""
    valid = [not empty(entry) and entry[_CRC] == crc(entry) for entry in found]
    if valid[0] and valid[1]:
        return 0 if found[0][_SEQ] >= found[1][_SEQ] else 1
    return 0 if valid[0] else 1 if valid[1] else -1


def write(flash, at, number, entry):
    """Replace a sector with two operations; in between it is blank. Raises OSError."""
    data = struct.pack("<I20sII", entry[_SEQ], b"\xff" * 20, entry[_STATE], entry[_CRC])
    if flash.ioctl(6, at + number) or flash.writeblocks(at + number, data, 0):
        raise OSError(_FLASH_OP_FAIL)


def boot_slot(flash, at):
    """Return the slot that otadata selects."""
    found = entries(flash, at)
    number = active(found)
    return 0 if number < 0 else (found[number][_SEQ] - 1) % _SLOTS


def set_boot(flash, at, slot, first, blocks):
    """Make the slot in these blocks the next to boot. Raises OSError."""
    try:
        fine = is_image(flash, first, blocks)
    except OSError:
        fine = False
    if not fine:
        raise OSError(_OTA_VALIDATE_FAILED)
    found = entries(flash, at)
    number = active(found)
    seq = slot + 1
    if number >= 0:
        # The lowest sequence that selects the slot and is not below the current one.
        seq %= _SLOTS
        while found[number][_SEQ] > seq:
            seq += _SLOTS
    entry = [seq, _NEW, 0]
    entry[_CRC] = crc(entry)
    write(flash, at, 1 if number == 0 else 0, entry)


def mark_valid(flash, at):
    """Confirm the image that otadata selects. Raises OSError."""
    found = entries(flash, at)
    number = active(found)
    if number < 0:
        raise OSError(_FAIL)
    if found[number][_STATE] != _VALID:
        found[number][_STATE] = _VALID
        write(flash, at, number, found[number])


# --- images


def is_image(flash, first, blocks):
    """Return whether these blocks contain a valid image for this chip. Raises OSError."""
    start = first << 12
    end = start + (blocks << 12)
    digest = hashlib.sha256()
    head = read(flash, start, bytearray(24))
    digest.update(head)
    chip = head[12] | head[13] << 8
    if head[0] != 0xE9 or not 0 < head[1] <= 16 or chip != _CHIP:
        return False
    at = start + 24
    buf = bytearray(_CHUNK)
    segment = bytearray(8)
    total = 0  # exclusive or of all chunks, as long integers: faster than a loop
    for _ in range(head[1]):
        if at + 8 > end:
            return False
        digest.update(read(flash, at, segment))
        at += 8
        left = struct.unpack("<I", memoryview(segment)[4:])[0]
        if left & 3 or left > end - at:
            return False
        while left:
            chunk = buf if left >= _CHUNK else memoryview(buf)[:left]
            digest.update(read(flash, at, chunk))
            total ^= int.from_bytes(chunk, "little")
            at += len(chunk)
            left -= len(chunk)
    checksum = 0xEF
    for byte in total.to_bytes(_CHUNK, "little"):
        checksum ^= byte
    pad = 16 - (at - start) % 16
    if at + pad > end:
        return False
    rest = read(flash, at, bytearray(pad))
    at += pad
    if rest[-1] != checksum:
        return False
    if not head[23]:
        return True
    digest.update(rest)
    return at + 32 <= end and read(flash, at, bytearray(32)) == digest.digest()
