"""Verify the firmware, check it, and hand it over to be installed: the last phase of an update."""

from micropython import const

from ivota import let_go, once

_DIGEST = const(65536)  # bytes of flash per step: reading them takes less than an erase
_ACK_MS = const(5000)  # maximum wait for the cloud to receive `burning`


def step(job):
    """Do the next piece; `job.phase` is None after the last one."""
    client = job.client
    push = job.push
    target = job.target
    if target:
        if not job.verbs:
            job.verbs = once(target.kind)
        if job.verbs.check(target, _DIGEST):
            once("checkpoint").finish(target, push.md5, job.fetched)
            client.log("info", "verified", version=push.version)
            push.path = target.path
            push.slot = target.slot
            push.payload_size = push.size
            job.firmware = push
            job.target = job.verbs = None
            if client.config["keys"]:
                job.phase = "owner_signature"  # which returns to this phase
        return True
    firmware = job.firmware
    if not job.burning:
        if job.deferred("install"):
            return False
        if not job.taker:
            if firmware is push and not (client.on_firmware or push.slot) and _is_patch(push):
                job.phase = "patcher"  # which returns to this phase
                return True
            let_go()  # the application gets the heap back
            job.taker = client.on_firmware or once("activation").Installer(client)
        check = getattr(job.taker, "check", None)
        if not check or check(firmware):
            client.report("burning", push)
            job.retry.rest(_ACK_MS)
            job.burning = True
        return True
    if client.queue and job.retry.left_ms():
        return False
    job.phase = None
    client.log("info", "handed_over", version=push.version)
    job.taker(firmware)
    return True


def _is_patch(firmware):
    kinds = once("firmware_kind")
    with open(firmware.path, "rb") as file:
        return kinds.kind_of(file.read(kinds.HEAD)) == "patch"
