"""Read the header of the ESP32 image that runs."""

from micropython import const

_HEADER = const(24)
_MAGIC = const(0xE9)


def header():
    """Return the 24 bytes of its esp_image_header_t.

    Raises OSError, and ImportError on a board that is no ESP32.
    """
    from esp32 import Partition

    found = bytearray(_HEADER)
    Partition(Partition.RUNNING).readblocks(0, found, 0)
    return found


def chip_id(header):
    """Return the number of the chip that an image is for (esp_chip_id_t), None for other data."""
    return header[12] | header[13] << 8 if header[0] == _MAGIC else None
