"""The phase after the MD5, where keys are configured: whose firmware this is (docs/formats.md)."""

import hashlib

from micropython import const

from ivota import guarded_socket, once

_SIGNATURE = const(384)  # bytes
_KEY = const(422)  # bytes of a public key in DER, of which these are the last
_EXPONENT = b"\x02\x03\x01\x00\x01"
# What stands before a SHA-256 in the block that is signed: RFC 8017, 9.2.
_INFO = b"\x000\x31\x30\x0d\x06\x09`\x86H\x01e\x03\x04\x02\x01\x05\0\x04 "


def step(job):
    """Check the signature; what it covers is the next phase's work."""
    job.signed = header(job.firmware, job.client.config["keys"])
    job.phase = "signed_header"
    return True


def header(firmware, keys):
    """The header that the owner of one of the keys has signed.

    Nothing of it is understood yet. Raises OtaError(-5) where none has, with `reject` True unless
    it is the board's own fault; OSError where the firmware can't be read.
    """
    found, signature = once("signature_footer").parts(firmware)
    digest = hashlib.sha256(found).digest()
    lost = ""
    for path in keys:
        guarded_socket.feed()
        modulus = _modulus(path)
        if not modulus:
            lost = ", and %s is no key" % path
        # The whole block that is expected is compared: nothing in a signature is ever parsed.
        elif signature < modulus and (
            pow(signature, 65537, modulus).to_bytes(_SIGNATURE, "big")
            == b"\0\1" + b"\xff" * 330 + _INFO + digest
        ):
            return found
    raise once("signature_footer").refusal(
        firmware, "by none of the trusted keys" + lost, not lost
    )


def _modulus(path):
    """The public key's number; 0 where there is no key."""
    try:
        with open(str(path), "rb") as file:
            key = file.read(_KEY + 1)
    except OSError:
        return 0
    if len(key) != _KEY or key[-5:] != _EXPONENT:
        return 0
    return int.from_bytes(key[-5 - _SIGNATURE : -5], "big")
