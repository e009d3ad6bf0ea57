"""Check whether the signed header matches this payload and this board."""

import binascii
import hashlib
import json

from ivota import once


def step(job):
    """Do the next piece; after the last one, the update continues in `installation`."""
    client = job.client
    if not job.work:
        state = client.state
        job.work = examine(job.firmware, job.signed, client.config["target"], state.sequence)
    for _ in job.work:
        return True
    job.work = job.signed = None
    job.enter("installation")
    client.log("info", "signed", sequence=job.firmware.sequence)
    return True


def examine(firmware, header, target, confirmed):
    """Compare the firmware with its signed header, in a generator of bounded steps.

    At its end, `firmware` has `sequence` and `kind`. Raises OtaError(-5) for invalid firmware.
    """
    signature_footer = once("signature_footer")
    try:
        said = json.loads(header)
        for key in ("version", "target", "size", "sha256", "kind"):
            said[key]
        if type(said["sequence"]) is not int or said["v"] != 1:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise signature_footer.refusal(firmware, "its header has an unknown format")
    why = _mismatch(said, firmware, target, confirmed)
    if why:
        raise signature_footer.refusal(firmware, why)
    with signature_footer.opened(firmware) as file:
        digest = hashlib.sha256()
        if (yield from once("flash_digest").update(digest, file, firmware.payload_size)):
            raise OSError("the file ends early")
        if binascii.hexlify(digest.digest()).decode() != said["sha256"]:
            raise signature_footer.refusal(
                firmware, "the payload does not match the signed SHA-256"
            )
        # From here on, the payload is known to be the owner's.
        kinds = once("firmware_kind")
        head = signature_footer.read(file, 0, min(firmware.payload_size, kinds.HEAD))
        if said["kind"] != kinds.kind_of(head):
            raise signature_footer.refusal(firmware, "the payload has an unknown kind")
    firmware.sequence = said["sequence"]
    firmware.kind = said["kind"]


def _mismatch(said, firmware, target, confirmed):
    """Return why the signed header does not match, or None."""
    if said["version"] != firmware.version:
        return "it is for version %s, not for the pushed one" % said["version"]
    if said["target"] != target:
        return "it is for target %s, but this board is %s" % (said["target"], target)
    if said["sequence"] <= confirmed:
        return "sequence %d is not above the confirmed %d: downgrade blocked" % (
            said["sequence"],
            confirmed,
        )
    if said["size"] != firmware.payload_size:
        return "it is for %s bytes, but the payload has %d" % (said["size"], firmware.payload_size)
    return None
