"""Create ESP32 images, and check them as the boot loader does.

An image is a header of 24 bytes, segments, a checksum, and a SHA-256. The first segment begins
with esp-idf's description of the application. In this simulation, the Python source of the module
`ivota_image` follows it; a vendor would freeze that module into a real image.
"""

import hashlib
import random
import struct
from functools import reduce
from operator import xor

ESP32 = 0  # the chip id in the header; the chip that is simulated

_HEADER = struct.Struct("<BBBBI BBBB HBHH4sB")
_SEGMENT = struct.Struct("<II")
_DESCRIPTION = struct.Struct("<II8s32s32s16s16s32s32s80s")
_MAGIC = 0xE9
_DESCRIPTION_MAGIC = 0xABCD5432
_SEGMENTS_MOST = 16
_CHECKSUM_SEED = 0xEF
_DIGEST = 32
_DATA_ADDRESS, _CODE_ADDRESS, _ENTRY = 0x3F400020, 0x400D0020, 0x40081000
SOURCE_MAGIC = b"IVOTASRC"  # then its length, u32, then itself


def make_image(
    version: str,
    source: str = "",
    chip: int = ESP32,
    size: int | None = None,
    like: str | None = None,
) -> bytes:
    """Create a valid image of `version`, with the code of the version `like`, or different code.

    `source` runs after `VERSION` is set, when the image starts. `size` is the total size in bytes;
    images end at multiples of 16, so extra bytes follow like a trailer. None: the smallest size.
    Raises ValueError if `size` is too small.
    """
    text = f"VERSION = {version!r}\n{source}".encode()
    data = _description(version) + SOURCE_MAGIC + struct.pack("<I", len(text)) + text
    data += b"\0" * (-len(data) % 4)
    chance = random.Random(f"image {like or version}")
    code = b""
    if size is not None:
        # The checksum is the last of 16 bytes, and segments are multiples of 4.
        least = _HEADER.size + 2 * _SEGMENT.size + len(data) + 4 + _DIGEST
        room = size // 16 * 16 - least
        if room < 0:
            least += -least % 16
            raise ValueError(f"an image of {version} needs at least {least} bytes")
        code = chance.randbytes(room)
    image = _HEADER.pack(
        *(_MAGIC, 2, 2, 0x20, _ENTRY),  # two segments; DIO at 40 MHz, 4 MiB
        *(0xEE, 0, 0, 0, chip, 0, 0, 0xFFFF, b"\0" * 4, 1),  # of any revision, with a digest
    )
    image += _SEGMENT.pack(_DATA_ADDRESS, len(data)) + data
    image += _SEGMENT.pack(_CODE_ADDRESS, len(code)) + code
    image += b"\0" * (15 - len(image) % 16)
    image += bytes([reduce(xor, data + code, _CHECKSUM_SEED)])
    image += hashlib.sha256(image).digest()
    return image + (chance.randbytes(size - len(image)) if size else b"")


def _description(version: str) -> bytes:
    name = version.encode()[:31]
    about = (b"ivota", b"00:00:00", b"Jan  1 2025", b"v5.4", hashlib.sha256(name).digest())
    return _DESCRIPTION.pack(_DESCRIPTION_MAGIC, 0, b"", name, *about, b"")


def is_valid(data: bytes, chip: int = ESP32) -> bool:
    """Return whether `data`, the bytes of a slot, begin with a valid image for this chip."""
    if len(data) < _HEADER.size:
        return False
    header = _HEADER.unpack_from(data)
    if header[0] != _MAGIC or not 0 < header[1] <= _SEGMENTS_MOST or header[9] != chip:
        return False
    at = _HEADER.size
    checksum = _CHECKSUM_SEED
    for _ in range(header[1]):
        if at + _SEGMENT.size > len(data):
            return False
        size = _SEGMENT.unpack_from(data, at)[1]
        at += _SEGMENT.size
        if size % 4 or at + size > len(data):
            return False
        checksum = reduce(xor, data[at : at + size], checksum)
        at += size
    at = at // 16 * 16 + 16
    if at > len(data) or data[at - 1] != checksum:
        return False
    if not header[-1]:
        return True
    return hashlib.sha256(data[:at]).digest() == data[at : at + _DIGEST]
