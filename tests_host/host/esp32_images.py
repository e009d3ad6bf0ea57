"""Images of a whole ESP32 flash, for the tests of what tells them from an application's."""

from __future__ import annotations

import struct

from ivota_tools.sim.esp32_image import make_image

# Where a chip's boot loader begins on the flash: so much less is in a combined file.
STARTS = {0: 0x1000, 2: 0x1000, 5: 0, 9: 0, 18: 0x2000}
APPLICATION_AT = 0x10000


def boot_loader(chip: int) -> bytes:
    """An image like any other, without an application's description."""
    image = bytearray(make_image("boot", chip=chip, size=20_000))
    image[32:36] = b"\x50\0\0\0"
    return bytes(image)


def table(*, application: bool = True) -> bytes:
    entries = [("nvs", 1, 2, 0x9000, 0x6000), ("phy_init", 1, 1, 0xF000, 0x1000)]
    if application:
        entries.append(("factory", 0, 0, APPLICATION_AT, 0x1F0000))
    entries.append(("vfs", 1, 0x81, 0x200000, 0x200000))
    packed = [
        struct.pack("<2sBBII16sI", b"\xaa\x50", kind, sub, at, size, label.encode(), 0)
        for label, kind, sub, at, size in entries
    ]
    return b"".join(packed).ljust(0xC00, b"\xff")


def combined(application: bytes, chip: int = 0, *, start: int | None = None) -> bytes:
    """What a build joins for the serial port: it begins at the boot loader, or at `start`."""
    boot = STARTS[chip]
    flash = bytearray(b"\xff" * APPLICATION_AT) + application
    loader = boot_loader(chip)
    flash[boot : boot + len(loader)] = loader
    flash[0x8000:0x8C00] = table()
    return bytes(flash[boot if start is None else start :])
