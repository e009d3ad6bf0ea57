"""Activate verified firmware, a bundle or an image, on trial from the next start on."""

from micropython import const

from ivota import OtaError, once

_FAILED = const(-5)


class Installer:
    """Install firmware for the agent: activate a bundle, or select an image for the next boot."""

    def __init__(self, client):
        self._client = client
        self._work = None

    def check(self, firmware):
        """Check a piece of the firmware on flash; return True when all of it is valid.

        Raises OtaError(-5) for firmware that must not start.
        """
        if self._work is None:
            self._work = _examine(self._client.state, firmware)
        for _ in self._work:
            return False
        self._work = ()  # the checking code leaves the heap
        return True

    def __call__(self, firmware):
        """Activate the firmware on trial, and end the client for a restart. One write activates
        a bundle.
        """
        client = self._client
        limits = client.config["trial"]
        trial = {
            "version": firmware.version,
            "md5sum": firmware.md5,
            "limits": [limits["starts"], limits["power_boots"]],
        }
        if firmware.echo:
            trial["echo"] = firmware.echo
        if client.config["keys"]:
            trial["sequence"] = firmware.sequence
        into = once("image_trial").activate if firmware.slot else activate
        into(client.state, firmware.path, trial)
        client.restart = True
        client.exit()


def _examine(state, firmware):
    """Check an image, or one record of a bundle per step."""
    if firmware.slot:
        once("image_trial").examine(state, firmware.md5)
        return
    kind = once("firmware_kind").kind_at(firmware.path)
    if kind == "esp32-image":
        raise OtaError(_FAILED, "this board has no slot for an ESP32 image")
    if kind != "bundle":
        raise OtaError(_FAILED, "neither bundle nor image, and on_firmware is not set")
    yield from once("bundle_check").examine(firmware.path, firmware.version)


def activate(state, path, trial):
    """Save that `path` starts next, on trial; the running version becomes `previous`.

    For an image, which mounts no bundle, `path` is None. Raises OSError if the flash fails.
    """
    before = state.active, state.previous, None, state.sums
    sums = {path: trial["md5sum"]} if path else {}
    if state.active:
        sums[state.active] = (state.sums or {}).get(state.active)
    state.previous = state.active
    state.active = path
    state.trial = trial
    state.sums = sums
    state.starts = state.power_boots = 0
    try:
        once("state").save(state)
    except Exception:  # the report of this failure must not repeat the failed write
        state.active, state.previous, state.trial, state.sums = before
        raise
