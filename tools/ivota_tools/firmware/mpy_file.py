"""Check the header of a .mpy file: its MicroPython version and its architecture."""

from __future__ import annotations

from .board_limits import MPY_NATIVE_VERSION, MPY_VERSION, SMALL_INT_BITS
from .bundle import ReleaseError

# Architectures of native code, by their number in the header (py/persistentcode.h).
ARCHITECTURES = (
    *("", "x86", "x64", "armv6", "armv6m", "armv7m", "armv7em", "armv7emsp", "armv7emdp"),
    *("xtensa", "xtensawin", "rv32imc", "rv64imc"),
)
# The architecture of each chip.
CHIPS = {
    "esp8266": "xtensa",
    **dict.fromkeys(("esp32", "esp32s2", "esp32s3"), "xtensawin"),
    **dict.fromkeys(("esp32c2", "esp32c3", "esp32c5", "esp32c6", "esp32c61"), "rv32imc"),
    **dict.fromkeys(("esp32h2", "esp32h21", "esp32h4", "esp32p4"), "rv32imc"),
    "rp2040": "armv6m",
    "rp2350": "armv7emsp",
}


def architecture(name: str) -> str:
    """Return the architecture of this name or of this chip. Raises ReleaseError."""
    found = CHIPS.get(name.lower().replace("-", ""), name)
    if found not in ARCHITECTURES[1:]:
        raise ReleaseError(
            f"{name!r} is neither an architecture ({', '.join(ARCHITECTURES[1:])}) nor a chip "
            f"({', '.join(CHIPS)})"
        )
    return found


def problem(data: bytes, march: str | None = None) -> str | None:
    """Return why boards cannot import the .mpy file `data`, or None.

    `march` is the boards' architecture; without it, native code for any architecture is accepted.
    """
    if len(data) < 4 or data[:1] != b"M":
        return "it is not a .mpy file"
    version, flags, bits = data[1], data[2], data[3]
    if version != MPY_VERSION:
        return (
            f"it is compiled for another MicroPython (.mpy version {version}, but boards need "
            f"version {MPY_VERSION}): compile it again, or put its .py file in the folder"
        )
    number = flags >> 2 & 15
    if number:
        name = ARCHITECTURES[number] if number < len(ARCHITECTURES) else f"number {number}"
        if flags & 3 != MPY_NATIVE_VERSION:
            return (
                f"its native code is for another MicroPython (.mpy version {version}.{flags & 3}, "
                f"but boards need {MPY_VERSION}.{MPY_NATIVE_VERSION}): compile it again"
            )
        if march and name != march:
            return f"its native code is for {name}, but --march is {march}"
    if bits > SMALL_INT_BITS:
        return (
            f"its integers have {bits} bits, but a board's have {SMALL_INT_BITS}: compile it again"
        )
    return None
