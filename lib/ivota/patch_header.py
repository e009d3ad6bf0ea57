"""Parse the header of a patch (docs/formats.md)."""

import struct
from collections import namedtuple

from micropython import const

from ivota import OtaError

_FAILED = const(-5)
_MAGIC = const(b"IVOTADLT")
_FIXED = const("<8s4BI16sI32s16s")
_SIZE = const(84)  # bytes
MOST = const(339)  # bytes of a whole header: a version has 255 at most
_WINDOWS = const((9, 10, 11, 12))
BUNDLE = const(0)
IMAGE = const(1)


# `kind` of the result, BUNDLE or IMAGE; `window` in bits; sizes in bytes; digests as bytes. The
# base is the first `base_size` bytes of the running `base_version`; compressed firmware has none.
# The patch's stream begins at `size`.
Header = namedtuple(
    "Header",
    (
        "kind",
        "window",
        "base_version",
        "base_size",
        "base_md5",
        "result_size",
        "result_sha256",
        "result_md5",
        "size",
    ),
)


def parse(data):
    """Parse the `Header` at the beginning of `data`; the first MOST bytes of a patch are enough.

    Raises OtaError(-5), which rejects the patch, if it is not valid.
    """
    if len(data) < _SIZE:
        raise damaged("its header is truncated")
    fields = struct.unpack_from(_FIXED, data)
    magic, version, kind, window, length = fields[:5]
    if magic != _MAGIC or version != 1:
        raise damaged("it has an unknown format")
    size = _SIZE + length
    name = data[_SIZE:size]
    try:
        base_version = str(name, "utf-8")
    except ValueError:
        kind = -1
    base_size, base_md5, result_size, sha256, md5 = fields[5:]
    if not BUNDLE <= kind <= IMAGE or window not in _WINDOWS or not result_size:
        raise damaged("its header is invalid")
    if len(name) != length:
        raise damaged("its header is truncated")
    return Header(kind, window, base_version, base_size, base_md5, result_size, sha256, md5, size)


def damaged(why):
    """Return the error for a patch that no board can use and that must not be downloaded again."""
    return OtaError(_FAILED, "patch: " + why, reject=True)
