"""Check whether the signed header fits the payload and this board: a phase of an update."""

import binascii
import hashlib
import json

from ivota import once


def step(job):
    """Do the next piece; after the last one, the update continues in `verification`."""
    client = job.client
    if not job.work:
        state = client.state
        job.work = examine(job.firmware, job.signed, client.config["target"], state.sequence)
    for _ in job.work:
        return True
    job.work = job.signed = None
    job.enter("verification")
    client.log("info", "signed", sequence=job.firmware.sequence)
    return True


def examine(firmware, header, target, confirmed):
    """Compare the firmware with its signed header, in a generator of bounded steps.

    At its end, `firmware` has `sequence` and `kind`. Raises OtaError(-5) for invalid firmware.
    """
    signature_footer = once("signature_footer")
    try:
        claims = json.loads(header)
        for key in ("version", "target", "size", "sha256", "kind"):
            claims[key]
        if type(claims["sequence"]) is not int or claims["v"] != 1:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise signature_footer.refusal(firmware, "its header has an unknown format")
    why = _mismatch(claims, firmware, target, confirmed)
    if why:
        raise signature_footer.refusal(firmware, why)
    with signature_footer.opened(firmware) as file:
        digest = hashlib.sha256()
        if (yield from once("flash_digest").update(digest, file, firmware.payload_size)):
            raise OSError("the file ends early")
        if binascii.hexlify(digest.digest()).decode() != claims["sha256"]:
            raise signature_footer.refusal(
                firmware, "the payload does not match the signed SHA-256"
            )
        # From here on, the payload is known to be the owner's.
        kinds = once("firmware_kind")
        head = signature_footer.read(file, 0, min(firmware.payload_size, kinds.HEAD))
        if claims["kind"] != kinds.kind_of(head):
            raise signature_footer.refusal(firmware, "the payload is not of the signed kind")
    firmware.sequence = claims["sequence"]
    firmware.kind = claims["kind"]


def _mismatch(claims, firmware, target, confirmed):
    """Return why the signed header does not match, or None."""
    if claims["version"] != firmware.version:
        return "it is for version %s, not for the pushed one" % claims["version"]
    if claims["target"] != target:
        return "it is for target %s, but this board is %s" % (claims["target"], target)
    if claims["sequence"] <= confirmed:
        return "sequence %d is not above the confirmed %d: downgrade blocked" % (
            claims["sequence"],
            confirmed,
        )
    if claims["size"] != firmware.payload_size:
        return "it covers %s bytes, but the payload has %d" % (
            claims["size"],
            firmware.payload_size,
        )
    return None
