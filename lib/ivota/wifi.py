"""The network interface of a board: station mode, joined again whenever it is lost."""

import network

from ivota import Backoff


class Station:
    """Called before each connection: True while the board is on the network.

    While it is not, joining is tried again with back-off; nothing waits here, nothing resets.
    """

    def __init__(self, wifi, log):
        self._ssid = wifi["ssid"]
        self._password = wifi.get("password")
        self._log = log
        self._retry = Backoff(10, 60)  # joining takes seconds: no sooner again than that
        self._up = False
        self._wlan = network.WLAN(network.STA_IF)

    def __call__(self):
        if self._wlan.isconnected():
            if not self._up:
                self._up = True
                self._retry.reset()
                self._log("info", "wifi_up", address=self._wlan.ifconfig()[0])
            return True
        if self._up:
            self._up = False
            self._log("warning", "wifi_lost")
        if not self._retry.left_ms():
            self._retry.failed()
            self._log("info", "wifi_join", ssid=self._ssid)
            try:
                self._wlan.active(True)
                self._wlan.disconnect()
                self._wlan.connect(self._ssid, self._password)
            except OSError as error:
                self._log("warning", "wifi_refused", why=error)
        return False
