"""Connect through the board's own code: `online()` in its module `own_network`."""

from ivota import guarded_socket
from ivota.network_base import Interface

_AGAIN_MS = 1000


class Nic(Interface):
    """Call the module's `online()` every second until it returns True; each call must return
    immediately.
    """

    def connected(self):
        if self.retry.left_ms():
            return False
        module = __import__("own_network")
        guarded_socket.hooks.feed()
        return module.online()

    def bring_up(self):
        self.retry.rest(_AGAIN_MS)

    def on_up(self):
        self.log("info", "network_up", by="own_network")

    def leave(self):
        pass
