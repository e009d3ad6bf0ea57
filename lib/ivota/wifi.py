"""Join the first available Wi-Fi network of the list, and no other."""

import network

from ivota.network_base import TRY_S, Interface


class Nic(Interface):
    """The radio as a station: it tries each network in turn, from the first after each loss."""

    def __init__(self, config, log):
        super().__init__(config, log)
        self._next = 0
        self._ours = False  # whether we have told the radio what to join

    def connected(self):
        if self.nic is None:
            self.nic = network.WLAN(network.STA_IF)
        nic = self.nic
        if not nic.isconnected():
            return False
        if not self._ours:
            # Joined by boot.py, before a soft reset, or from a radio's own flash.
            try:
                ssid = nic.config("ssid")
            except (ValueError, OSError):  # a port that does not report it
                ssid = None
            if ssid and ssid not in [each["ssid"] for each in self.config["wifi"]]:
                nic.disconnect()
                return False
            self._ours = True
        return True

    def on_up(self):
        self._next = 0
        super().on_up()

    def bring_up(self):
        networks = self.config["wifi"]
        chosen = networks[self._next]
        self._next = (self._next + 1) % len(networks)
        if self._next:  # there is a wait between two rounds
            self.retry.rest(1000 * TRY_S)
        else:
            self.retry.failed(TRY_S)
        self.log("info", "network_join", ssid=chosen["ssid"])
        nic = self.nic
        nic.active(True)
        nic.disconnect()
        self.set_address(chosen["static"])
        nic.connect(chosen["ssid"], chosen["password"])
        self._ours = True
