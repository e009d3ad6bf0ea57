"""The base of network interfaces: connect, check the connection, and reconnect."""

from ivota import Backoff, describe

TRY_S = 15  # joining takes seconds: the minimum for each network


class Interface:
    """Callable that returns True while the board is on the network; called before connections.

    A call never waits and never resets. A subclass has `connected()`, and `bring_up()`, which
    starts to bring up `nic` and sets the wait of `retry` before the next call. Both may raise
    any error of a driver.
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
        # Drivers also raise RuntimeError, ValueError and, for missing functions, AttributeError. A
        # board must survive a failing network and retry.
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
        """Set the interface's static address, or let it use DHCP, the default."""
        if static:
            self.nic.ifconfig(static)
            return
        try:
            # An address from before a soft reset, or for another network, would stay.
            if self.nic.ifconfig()[0] != "0.0.0.0" and not self.nic.ipconfig("dhcp4"):
                self.nic.ipconfig(dhcp4=True)
        except (AttributeError, ValueError, OSError, RuntimeError):  # not on every port
            pass

    def leave(self):
        """Leave the network, for another configuration."""
        try:
            self.nic.disconnect()
        except (OSError, AttributeError):  # it is not up yet, or is a cable
            pass
