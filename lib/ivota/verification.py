"""Verify the firmware's MD5, check it, and hand it over: the last phase of an update.

A client without `on_firmware` hands the firmware over to `activation`.
"""

from micropython import const

from ivota import let_go, once

_DIGEST = const(65536)  # bytes of flash per step: reading them takes less than an erase
_ACK_MS = const(5000)  # maximum wait for the cloud to receive `burning`


def step(job):
    """Do the next piece; the last one ends the job."""
    client = job.client
    push = job.push
    target = job.target
    if target:
        if target.digest_more(_DIGEST):
            target.verify(push.md5, job.fetched)
            client.log("info", "verified", version=push.version)
            push.path = target.path
            push.slot = target.slot
            push.payload_size = push.size
            job.firmware = push
            job.target = None
            if client.config["keys"]:
                job.enter("owner_signature")  # which returns to this phase
        return True
    firmware = job.firmware
    if not job.burning:
        if job.must_wait("install"):
            return False
        if not job.on_firmware:
            if (
                firmware is push
                and not (client.on_firmware or push.slot)
                and once("firmware_kind").kind_at(push.path) == "patch"
            ):
                job.enter("patcher")  # which returns to this phase
                return True
            let_go()  # the application gets the heap back
            job.on_firmware = client.on_firmware or once("activation").Installer(client)
        check = getattr(job.on_firmware, "check", None)
        if not check or check(firmware):
            client.report("burning", push)
            job.retry.rest(_ACK_MS)
            job.burning = True
        return True
    if client.queue and job.retry.left_ms():
        return False
    job.enter(None)
    client.log("info", "handed_over", version=push.version)
    job.on_firmware(firmware)
    return True
