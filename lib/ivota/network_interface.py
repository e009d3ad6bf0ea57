"""A board's way to the network: brought up, looked at, and brought up again when it is lost."""

from ivota import Backoff, describe

TRY_S = 15  # to join takes seconds: none is tried for less


class Interface:
    """Called before each connection: True while the board is on the network.

    Nothing here waits and nothing resets. A subclass has `connected()`, and `bring_up()`, which
    begins to bring up `nic` and says to `retry` when it is to be called again unless connected.
    Both may raise whatever a driver raises.
    """

    def __init__(self, config, log):
        self.config = config
        self.log = log
        self.nic = None
        self.retry = Backoff(TRY_S, 60)
        self._up = False

    def __call__(self):
        is_due = not self.retry.left_ms()
        try:
            if self.connected():
                if not self._up:
                    self._up = True
                    self.retry.reset()
                    self.on_up()
                return True
            if self._up:
                self._up = False
                self.log("warning", "network_lost")
            if is_due:
                self.bring_up()
        # Besides OSError drivers raise RuntimeError, ValueError and, for what a port has not,
        # AttributeError; a board whose network fails has to stay up for the next try.
        except Exception as error:
            if is_due:
                self.log("warning", "network_refused", why=describe(error))
                if not self.retry.left_ms():
                    self.retry.failed(TRY_S)
        return False

    def connected(self):
        return self.nic is not None and self.nic.isconnected()

    def bring_up(self):
        pass

    def on_up(self):
        self.log("info", "network_up", address=self.nic.ifconfig()[0])

    def set_address(self, static):
        """Give the interface its own address, or have it ask DHCP, as it does unless told."""
        if static:
            self.nic.ifconfig(static)
            return
        try:
            # What was set before a soft reset, or for another network, stays there.
            if self.nic.ifconfig()[0] != "0.0.0.0" and not self.nic.ipconfig("dhcp4"):
                self.nic.ipconfig(dhcp4=True)
        except (AttributeError, ValueError, OSError, RuntimeError):  # not on each port
            pass

    def leave(self):
        """Leave the network, for another configuration."""
        try:
            self.nic.disconnect()
        except (OSError, AttributeError):  # it has not come up, or is a cable
            pass
