"""Configure `network.LAN` for the board's Ethernet chip."""

import network
from machine import Pin

from ivota.network_base import TRY_S, Interface

_PINS = ("mdc", "mdio", "power", "reset", "ref_clk", "cs", "int")


class Nic(Interface):
    """The board's Ethernet port."""

    def bring_up(self):
        self.retry.failed(TRY_S)
        self.log("info", "network_join", by="lan")
        lan = self.config["lan"] or {}
        if self.nic is None:
            self.nic = network.LAN(**_arguments(lan))
        if not self.nic.active():
            self.nic.active(True)
            self.set_address(lan.get("static"))

    def leave(self):
        if self.nic:
            self.nic.active(False)


def _arguments(lan):
    """Return the constructor's arguments: pins as Pin objects, names as the port's constants."""
    found = {name: Pin(lan[name]) for name in _PINS if lan.get(name, -1) >= 0}
    if lan.get("phy_type"):
        found["phy_type"] = getattr(network, "PHY_" + lan["phy_type"])
    if lan.get("phy_addr", -1) >= 0:
        found["phy_addr"] = lan["phy_addr"]  # type: ignore[assignment]
    if lan.get("ref_clk_mode"):
        mode = Pin.IN if lan["ref_clk_mode"] == "in" else Pin.OUT
        found["ref_clk_mode"] = mode  # type: ignore[assignment]
    if lan.get("spi", -1) >= 0:
        from machine import SPI

        pins = {name: Pin(lan[name]) for name in ("sck", "mosi", "miso") if lan[name] >= 0}
        found["spi"] = SPI(lan["spi"], **pins)  # type: ignore[assignment]
    return found
