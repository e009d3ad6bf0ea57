"""`io`."""

from ..streams import BytesIO, IOBase, StringIO


def make(world):
    return {
        "BytesIO": BytesIO,
        "IOBase": IOBase,
        "StringIO": StringIO,
        "open": world.mounts.open,
    }
