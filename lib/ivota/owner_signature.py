"""Verify the owner's signature, if keys are configured (docs/formats.md)."""

import hashlib

from micropython import const

from ivota import guarded_socket, once

_SIGNATURE = const(384)  # bytes
_KEY = const(422)  # bytes of a public key in DER, which end with these
_EXPONENT = const(b"\x02\x03\x01\x00\x01")
# The constant bytes before a SHA-256 in the signed block: RFC 8017, 9.2.
_INFO = const(b"\x000\x31\x30\x0d\x06\x09`\x86H\x01e\x03\x04\x02\x01\x05\0\x04 ")


def step(job):
    """Verify the signature; the next phase checks what it covers."""
    job.signed = header(job.firmware, job.client.config["keys"])
    job.enter("signed_claims")
    return True


def header(firmware, keys):
    """Return the header, not parsed, if one of the keys has signed it.

    Raises OtaError(-5) without a valid signature, with `reject`
    unless the board itself is the cause; OSError if the firmware can't be read.
    """
    found, signature = once("signature_footer").parts(firmware)
    lost = distrust(found, signature, keys)
    if lost is None:
        return found
    raise once("signature_footer").refusal(
        firmware, "not signed by a trusted key" + lost, not lost
    )


def distrust(data, signature, keys):
    """Return None if one of the keys at these paths signed `data`, otherwise the reason.

    The reason is "", or names a key that can't be read. `signature` is a number.
    """
    digest = hashlib.sha256(data).digest()
    lost = ""
    for path in keys:
        guarded_socket.hooks.feed()
        modulus = _modulus(path)
        if not modulus:
            lost = ", and %s is not a public key" % path
        # Compare the whole expected block: nothing in a signature is ever parsed.
        elif signature < modulus and (
            pow(signature, 65537, modulus).to_bytes(_SIGNATURE, "big")
            == b"\0\1" + b"\xff" * 330 + _INFO + digest
        ):
            return None
    return lost


def _modulus(path):
    """Return the public key's modulus; 0 if the file is not a key."""
    try:
        with open(str(path), "rb") as file:
            key = file.read(_KEY + 1)
    except OSError:
        return 0
    if len(key) != _KEY or key[-5:] != _EXPONENT:
        return 0
    return int.from_bytes(key[-5 - _SIGNATURE : -5], "big")
