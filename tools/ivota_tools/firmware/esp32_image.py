"""Parse ESP32 images: applications for an OTA slot, and whole-flash images for a serial port.

An application image starts with esp-idf's `esp_image_header_t`, and its first segment with
`esp_app_desc_t`. A whole-flash image starts with a boot loader, which looks like an application,
followed by a partition table that contains the application's address.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import xor

from .bundle import ReleaseError

MAGIC = 0xE9
CHIPS = {  # esp_chip_id_t
    0: "esp32",
    2: "esp32s2",
    5: "esp32c3",
    9: "esp32s3",
    12: "esp32c2",
    13: "esp32c6",
    16: "esp32h2",
    18: "esp32p4",
    20: "esp32c61",
    23: "esp32c5",
    25: "esp32h21",
    28: "esp32h4",
}

_HEADER = struct.Struct("<BBBBI BBBB HBHH4sB")
_SEGMENT = struct.Struct("<II")
_DESCRIPTION = struct.Struct("<II8s32s32s16s16s32s32s")
_DESCRIPTION_AT = _HEADER.size + _SEGMENT.size
_DESCRIPTION_MAGIC = 0xABCD5432
_SEGMENTS_MOST = 16
_CHECKSUM_SEED = 0xEF
_DIGEST = 32

_TABLE_AT = 0x8000  # on the flash
_TABLE_SIZE = 0xC00
_PARTITION = struct.Struct("<2sBBII16sI")
_PARTITION_MAGIC = b"\xaa\x50"
# Flash address at which a combined file starts: the chip's boot loader, or 0.
_STARTS = (0x1000, 0x2000, 0)


@dataclass(frozen=True)
class Image:
    """The description in an application image; `size` in bytes, including the digest.

    `chip` is the name in lower case, or "chip 99" for an unknown chip.
    """

    chip: str
    size: int
    version: str
    project: str
    esp_idf: str
    compiled: str


def read(data: bytes | memoryview) -> Image | None:
    """Parse the application image at the start of `data`; return None if it has no description.

    Data after the image is ignored. Raises ReleaseError for a damaged image.
    """
    if not has_description(data):
        return None
    fields = _DESCRIPTION.unpack_from(data, _DESCRIPTION_AT)
    version, project, time, date, esp_idf = map(_text, fields[3:8])
    return Image(
        chip=chip_of(data) or "",
        size=_checked_size(data),
        version=version,
        project=project,
        esp_idf=esp_idf,
        compiled=f"{date} {time}".strip(),
    )


def chip_of(head: bytes | memoryview) -> str | None:
    """Return the chip of an application image from its first 512 bytes, or None."""
    if not has_description(head):
        return None
    return chip_name(_HEADER.unpack_from(head)[9])


def chip_name(number: int) -> str:
    return CHIPS.get(number, f"chip {number}")


def has_description(data: bytes | memoryview) -> bool:
    """Return whether `data`, at least 512 bytes, starts an application image."""
    if len(data) < _DESCRIPTION_AT + _DESCRIPTION.size or data[0] != MAGIC:
        return False
    return bool(_DESCRIPTION.unpack_from(data, _DESCRIPTION_AT)[0] == _DESCRIPTION_MAGIC)


def application_in(data: bytes | memoryview) -> tuple[int, Image] | None:
    """Find (offset, description) of the application in a combined file, or return None.

    Raises ReleaseError for a combined file without a complete application.
    """
    if has_description(data):
        return None
    for start in _STARTS:
        offsets = list(_applications(data[_TABLE_AT - start :][:_TABLE_SIZE]))
        for offset in offsets:
            if offset >= start:
                image = read(data[offset - start :])
                if image:
                    return offset - start, image
        if offsets:
            raise ReleaseError(
                "the file is an image of the whole flash, but contains no application"
            )
    return None


def _applications(table: bytes | memoryview) -> Iterator[int]:
    """Return the flash addresses of the application partitions in a partition table."""
    for at in range(0, len(table) - _PARTITION.size + 1, _PARTITION.size):
        magic, kind, _, offset, size, _, _ = _PARTITION.unpack_from(table, at)
        if magic != _PARTITION_MAGIC:
            return
        if kind == 0 and size and not offset % 4096:
            yield offset


def _checked_size(data: bytes | memoryview) -> int:
    """Return the size of an image. Raises ReleaseError if the boot loader would reject it."""
    segments, hashed = data[1], data[_HEADER.size - 1]
    if not 0 < segments <= _SEGMENTS_MOST:
        raise ReleaseError(f"the ESP32 image is damaged: it has {segments} segments")
    at = _HEADER.size
    checksum = _CHECKSUM_SEED
    for _ in range(segments):
        if at + _SEGMENT.size > len(data):
            raise ReleaseError("the ESP32 image is damaged: it is truncated")
        size = _SEGMENT.unpack_from(data, at)[1]
        at += _SEGMENT.size
        if at + size > len(data):
            raise ReleaseError("the ESP32 image is damaged: it is truncated")
        if not hashed:
            checksum = reduce(xor, data[at : at + size], checksum)
        at += size
    at = at // 16 * 16 + 16
    end = at + _DIGEST if hashed else at
    if end > len(data):
        raise ReleaseError("the ESP32 image is damaged: it is truncated")
    if hashed:
        whole = hashlib.sha256(memoryview(data)[:at]).digest() == data[at:end]
    else:
        whole = data[at - 1] == checksum
    if not whole:
        raise ReleaseError("the ESP32 image is damaged: its checksum does not match")
    return end


def _text(field: bytes) -> str:
    text = field.partition(b"\0")[0].decode(errors="replace")
    return "".join(char if char.isprintable() else "?" for char in text)
