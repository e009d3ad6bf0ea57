"""The network interface of a board: station mode."""

import time

try:
    import network
except ImportError:  # the unix port is on the network already
    network = None

from ivota import net
from ivota.retry import Backoff

_JOIN_MS = 15000


def connect(wifi, log):
    """Join the network of the configuration's `wifi`; tries until it works, never resets."""
    if network is None or not wifi.get("ssid"):
        return
    station = network.WLAN(network.STA_IF)
    station.active(True)
    waits = Backoff(1, 60)
    while not station.isconnected():
        log("info", "wifi", ssid=wifi["ssid"])
        try:
            station.connect(wifi["ssid"], wifi.get("password"))
            _wait(station.isconnected, _JOIN_MS)
        except OSError as error:
            log("warning", "wifi_failed", why=error)
        if not station.isconnected():
            station.disconnect()
            waits.failed()
            _wait(lambda: False, waits.left_ms())
    log("info", "wifi_up", address=station.ifconfig()[0])


def _wait(done, limit_ms):
    start = time.ticks_ms()
    while not done() and time.ticks_diff(time.ticks_ms(), start) < limit_ms:
        net.feed()
        time.sleep_ms(100)
