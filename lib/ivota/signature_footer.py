"""Read the signature block at the end of signed firmware, and refuse invalid firmware."""

from micropython import const

from ivota import OtaError, once

_FAILED = const(-5)
_FOOTER = const(12)  # bytes: two lengths, the magic
_HEADER = const(512)  # maximum bytes, so that hostile input takes no more heap
_SIGNATURE = const(384)  # bytes: RSA-3072, the only type


def opened(firmware):
    """Open the firmware on flash for reading; an image is in a slot."""
    return once("slot_reader").SlotFile() if firmware.slot else open(firmware.path, "rb")


def read(file, at, n):
    """Read exactly n bytes; OSError if they are missing."""
    file.seek(at)
    data = file.read(n)
    if len(data) != n:
        raise OSError("the file ends at byte %d" % (at + len(data)))
    return data


def parts(firmware):
    """Return (signed header, signature as a number); set `payload_size`. Nothing is verified yet.

    Raises OtaError(-5).
    """
    at = firmware.size - _FOOTER
    with opened(firmware) as file:
        footer = read(file, at, _FOOTER) if at >= 0 else b""
        if footer[4:] != b"IVOTASIG":
            raise refusal(firmware, "the file is not signed")
        length = footer[0] | footer[1] << 8
        at -= _SIGNATURE + length
        if footer[2] | footer[3] << 8 != _SIGNATURE or not 0 < length <= _HEADER or at < 0:
            raise refusal(firmware, "the signature block is damaged")
        firmware.payload_size = at
        return read(file, at, length), int.from_bytes(read(file, at + length, _SIGNATURE), "big")


def refusal(firmware, why, reject=True):
    """Return the error for firmware that must not be used; with `reject`, it must not be
    downloaded again either.
    """
    if firmware.slot:
        once("slot_reader").invalidate()
    return OtaError(_FAILED, "signature: " + why, reject=reject)
