"""`binascii`: takes str wherever bytes are due, and raises ValueError alone."""

import binascii as host

from ..streams import data_of


def make(world):
    def hexlify(data, sep=None):
        data = bytes(data_of(data))
        return host.hexlify(data) if sep is None else host.hexlify(data, sep)

    def unhexlify(data):
        try:
            return host.unhexlify(bytes(data_of(data)))
        except host.Error:
            raise ValueError("non-hex digit") from None

    def a2b_base64(data):
        try:
            return host.a2b_base64(bytes(data_of(data)))
        except host.Error:
            raise ValueError("incorrect padding") from None

    def b2a_base64(data, newline=True):
        return host.b2a_base64(bytes(data_of(data)), newline=newline)

    def crc32(data, value=0):
        return host.crc32(data_of(data), value)

    return {
        "a2b_base64": a2b_base64,
        "b2a_base64": b2a_base64,
        "crc32": crc32,
        "hexlify": hexlify,
        "unhexlify": unhexlify,
    }
