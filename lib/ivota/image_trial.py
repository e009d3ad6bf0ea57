"""Check, boot and confirm an ESP32 image that is complete in its slot.

The state file and the boot loader's otadata are separate writes, so their order matters: the state
records a trial before the boot loader knows it, and reports are sent after both agree.
"""

from esp32 import Partition
from micropython import const

from ivota import OtaError, describe, once

_FAILED = const(-5)
_HEAD = const(36)  # with the header of its first segment and the start of a description
_DESCRIPTION = const(b"\x32\x54\xcd\xab")  # esp_app_desc_t's magic; a boot loader has none
_TRIES = const(10)  # tries to boot one image; the image may not be the reason
_NO_LIMIT = const(0x3FFFFFFF)


def examine(state, md5):
    """Raise OtaError(-5) for an image that is not for this chip, or has often failed to start."""
    if _tries(state, md5) >= _TRIES:
        state.tries = []
        raise OtaError(_FAILED, "the image did not boot in %d tries" % _TRIES)
    found = bytearray(_HEAD)
    Partition(Partition.RUNNING).get_next_update().readblocks(0, found, 0)
    check(found)


def check(found):
    """Raise OtaError(-5) for an image that this chip can't start, by its first 36 bytes."""
    running = once("running_image_header")
    own = running.header()
    if found[0] != own[0]:
        raise OtaError(_FAILED, "not an ESP32 image")
    if found[12:14] != own[12:14]:  # esp_image_header_t's chip_id
        chips = running.chip_id(found), running.chip_id(own)
        raise OtaError(_FAILED, "the image is for chip %s, but this is chip %s" % chips)
    if bytes(found[32:]) != _DESCRIPTION:
        raise OtaError(_FAILED, "the image is of the whole flash, or has no application")


def _tries(state, md5):
    """Return how often the boot loader was told to start this image without success."""
    tries = state.tries
    return tries[-1] if tries[:1] == [md5] and type(tries[-1]) is int else 0


def activate(state, _checkpoint, trial):
    """Start the image from the next start on, on trial.

    After a power cut before `set_boot`, boot.py sees that it does not run and undoes the first
    write.
    """
    md5 = trial["md5sum"]
    state.tries = [md5, _tries(state, md5) + 1]
    slot = Partition(Partition.RUNNING).get_next_update()
    trial["slot"] = slot.info()[4]
    previous = state.previous
    once("activation").activate(state, None, trial)
    try:
        slot.set_boot()
    except OSError as error:
        state.active, state.previous, state.trial = state.previous, previous, None
        state.tries = []
        once("state").save(state)
        raise OtaError(_FAILED, "the image can't be booted: " + describe(error))


def begin(client):
    """Continue an image's trial at a start: it goes on only if the image's slot is running."""
    state = client.state
    trial = state.trial
    rollback = once("trial_rollback")
    state.tries = []  # it has run: from now on its failures count
    if trial and trial["slot"] != Partition(Partition.RUNNING).info()[4]:
        # As in boot.py.
        rollback.roll_back(state, "the boot loader rolled back to the previous image")
    elif trial and "provisional" not in trial and trial["version"] != client.version:
        why = "the image reports another version: " + client.version
        rollback.roll_back(state, why, True)
        client.restart = True
        client.exit()
    ended = state.ended
    if ended and once("failure_record").count(state, ended["md5sum"]) + 1 >= _TRIES:
        ended["reject"] = True


def confirm(client, text):
    """Mark the image as valid; return False if that failed and the boot loader has to decide.

    Before that, the trial stores `text` as provisional: the board sends it only if it becomes
    true. After a power cut, either the image runs and is valid, which can be marked again, or
    boot.py ends the trial.
    """
    state = client.state
    trial = state.trial
    try:
        if "provisional" not in trial:
            trial["provisional"] = text
            # Once the boot loader considers it valid, its starts can no longer end the trial.
            trial["limits"] = [_NO_LIMIT, _NO_LIMIT]
            once("state").save(state)
        Partition.mark_app_valid_cancel_rollback()
    except OSError as error:
        client.log("error", "flash", why=describe(error))
        client.restart = True
        client.exit()
        return False
    stem = client.directory + "/" + once("firmware_folder").file_stem(trial["version"])
    once("json_file").remove(stem + ".json")
    if state.previous != stem + ".bin":
        once("json_file").remove(stem + ".bin")  # the patch that built it
    return True
