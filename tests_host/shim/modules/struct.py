"""`struct`: numbers are cut to their field, missing ones are 0, and no error class of its own."""

import struct as host

from ..streams import data_of

SIZES = {"b": 8, "B": 8, "h": 16, "H": 16, "i": 32, "I": 32, "l": 0, "L": 0, "q": 64, "Q": 64}


def fields(fmt):
    """(count, code) for each field of `fmt`."""
    number = ""
    for char in fmt.lstrip("@=<>!"):
        if char.isdigit():
            number += char
            continue
        if char not in "bBhHiIlLqQfdsxPOS":
            raise ValueError("bad typecode")
        yield (int(number) if number else 1), char
        number = ""


def fitted(fmt, values):
    """The values that the host's pack takes for what MicroPython's was given."""
    values = list(values)
    order = fmt[0] if fmt[:1] in tuple("@=<>!") else ""
    out = []
    for count, code in fields(fmt):
        if code == "x":
            continue
        for _ in range(1 if code == "s" else count):
            value = values.pop(0) if values else (b"" if code == "s" else 0)
            if code == "s":
                value = bytes(data_of(value))
            elif code in SIZES:
                if not isinstance(value, int):
                    kind = type(value).__name__
                    raise TypeError("can't convert %s to int" % kind)
                bits = SIZES[code] or 8 * host.calcsize(order + code)
                value &= (1 << bits) - 1
                if code.islower() and value >> (bits - 1):
                    value -= 1 << bits
            out.append(value)
    return out


def calcsize(fmt):
    list(fields(fmt))
    return host.calcsize(fmt)


def pack(fmt, *values):
    return host.pack(fmt, *fitted(fmt, values))


def pack_into(fmt, buffer, offset, *values):
    try:
        host.pack_into(fmt, buffer, offset, *fitted(fmt, values))
    except host.error:
        raise ValueError("buffer too small") from None


def unpack_from(fmt, data, offset=0):
    list(fields(fmt))
    try:
        return host.unpack_from(fmt, data_of(data), offset)
    except host.error:
        raise ValueError("buffer too small") from None


def unpack(fmt, data):
    return unpack_from(fmt, data)


def make(world):
    return {
        "calcsize": calcsize,
        "pack": pack,
        "pack_into": pack_into,
        "unpack": unpack,
        "unpack_from": unpack_from,
    }
