"""The phase after the MD5, where keys are configured: whose firmware this is (docs/formats.md)."""

import binascii
import hashlib
import json

from micropython import const

from ivota import once
from ivota.errors import OtaError

_FAILED = const(-5)
_CHUNK = const(512)
_CHUNKS = const(128)  # in a step: 64 KiB
_FOOTER = const(12)
_HEADER = const(512)  # bytes at most, so that a hostile one takes no more heap
_SIGNATURE = const(384)  # bytes: RSA-3072, the only kind
_KEY = const(422)  # bytes of such a public key in DER, of which these are the last
_EXPONENT = b"\x02\x03\x01\x00\x01"
# RFC 8017, 9.2: what stands before a SHA-256 in the block that is signed.
_BLOCK = (
    b"\0\1" + b"\xff" * 330 + b"\x000\x31\x30\x0d\x06\x09`\x86H\x01e\x03\x04\x02\x01\x05\0\x04 "
)


def step(job):
    """Do the next piece; after the last one the update goes on in `finish`."""
    client = job.client
    if not job.verbs:
        job.verbs = examine(job.firmware, client.config, client.state.sequence)
    try:
        for _ in job.verbs:
            return True
    except OtaError:
        if job.firmware.slot:
            once("slotfile").forget()
        raise
    job.verbs = None
    job.phase = "finish"
    client.log("info", "signed", sequence=job.firmware.sequence)
    return True


def examine(firmware, config, confirmed):
    """Make sure that the owner of one of the keys has signed `firmware` for this board.

    A generator, a bounded piece of work at each step. At its end `firmware` has `payload_size`,
    `sequence` and `kind`. Nothing of the file is understood before the signature is accepted, but
    two lengths in its footer. Raises OtaError(-5) for what is not to be used, with `reject` True
    unless it is the board's own fault; OSError where the file can't be read.
    """
    with once("slotfile").SlotFile() if firmware.slot else open(firmware.path, "rb") as file:
        start = firmware.size - _FOOTER
        footer = _read(file, start, _FOOTER) if start >= 0 else b""
        if footer[4:] != b"IVOTASIG":
            raise refusal("it is not signed")
        length = footer[0] | footer[1] << 8
        start -= _SIGNATURE + length
        if footer[2] | footer[3] << 8 != _SIGNATURE or not 0 < length <= _HEADER or start < 0:
            raise refusal("its frame is damaged")
        header = _read(file, start, length)
        signature = int.from_bytes(_read(file, start + length, _SIGNATURE), "big")
        yield
        block = _BLOCK + hashlib.sha256(header).digest()
        why = None
        for path in config["keys"]:
            modulus, why = _modulus(path, why)
            if signature < modulus:
                found = pow(signature, 65537, modulus).to_bytes(_SIGNATURE, "big")
                if found == block:
                    break
            yield
        else:
            raise refusal("by none of the trusted keys" + (why or ""), not why)
        signature = modulus = found = block = None
        said = _header(header)
        header = None
        _compare(said, firmware, config["target"], confirmed, start)
        yield from _digest(file, start, said["sha256"])
        if said["kind"] != _kind(_read(file, 0, min(start, 10))):
            raise refusal("the payload is of another kind")
    firmware.payload_size = start
    firmware.sequence = said["sequence"]
    firmware.kind = said["kind"]


def refusal(why, reject=True):
    """The error for a firmware that must not be used; `reject`: nor be fetched again."""
    error = OtaError(_FAILED, "signature: " + why)
    error.reject = reject
    return error


def _read(file, at, n):
    file.seek(at)
    data = file.read(n)
    if len(data) != n:
        raise OSError("the file ends at %d" % (at + len(data)))
    return data


def _modulus(path, why):
    """The public key's number and `why`; 0 and why there is none where it is no such key."""
    try:
        with open(str(path), "rb") as file:
            key = file.read(_KEY + 1)
    except OSError:
        key = b""
    if len(key) != _KEY or key[-5:] != _EXPONENT:
        return 0, ", and %s is no key" % path
    return int.from_bytes(key[-5 - _SIGNATURE : -5], "big"), why


def _header(header):
    """What was signed; its owner may still have meant another kind of board's updater."""
    try:
        said = json.loads(header)
        for key in ("version", "target", "size", "sha256", "kind"):
            said[key]
        if type(said["sequence"]) is int and said["v"] == 1:
            return said
    except (ValueError, KeyError, TypeError):
        pass
    raise refusal("its header is of another format")


def _compare(said, firmware, target, confirmed, size):
    if said["version"] != firmware.version:
        raise refusal("of version %s, not of the one that was pushed" % said["version"])
    if said["target"] != target:
        raise refusal("for the target %s, and this is %s" % (said["target"], target))
    if said["sequence"] <= confirmed:
        raise refusal("number %d, and %d is confirmed" % (said["sequence"], confirmed))
    if said["size"] != size:
        raise refusal("of %s bytes, and here are %d" % (said["size"], size))


def _digest(file, size, expected):
    """Compare the SHA-256 of the payload on flash, 64 KiB at each step."""
    digest = hashlib.sha256()
    buffer = bytearray(_CHUNK)
    file.seek(0)
    left = size
    while left >= _CHUNK:
        for _ in range(min(left // _CHUNK, _CHUNKS)):
            if file.readinto(buffer) != _CHUNK:
                raise OSError("the file ends early")
            digest.update(buffer)
            left -= _CHUNK
        yield
    digest.update(_read(file, size - left, left))
    if binascii.hexlify(digest.digest()).decode() != expected:
        raise refusal("the payload is not the one that was signed")


def _kind(head):
    if head == b"ivota.json":
        return "bundle"
    return "esp32-image" if head[:1] == b"\xe9" else "other"
