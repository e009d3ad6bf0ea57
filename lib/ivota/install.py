"""A verified firmware becomes what starts next, by its first bytes."""

from ivota import once


class Installer:
    """What gets one firmware in the agent: a bundle becomes active, an image the next to boot."""

    def __init__(self, client):
        self._client = client
        self._work = None

    def check(self, firmware):
        """Examine a piece of the firmware on flash; True when all of it is as it should be.

        Raises OtaError(-5) for what must not be started.
        """
        if self._work is None:
            self._work = once("examine").examine(self._client.state, firmware)
        for _ in self._work:
            return False
        self._work = ()  # what has examined leaves the heap
        return True

    def __call__(self, firmware):
        """Make it active as a trial, a bundle with one write, and end the client for a restart."""
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
        module = once("image" if firmware.slot else "state")
        module.activate(client.state, firmware.path, trial)
        client.restart = True
        client.exit()
