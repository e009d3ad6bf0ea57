"""Create the board.json of a board that connects to this cloud."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..common.wifi_network import PLACEHOLDER
from .mqtt.topic_prefix import OWN


@dataclass(frozen=True)
class BoardConfig:
    """`mqtt()` returns the host and the port that boards connect to."""

    mqtt: Callable[[], tuple[str, int]]
    tls: bool
    topic_prefix: str
    sign_in: bool

    def make(
        self,
        product: str,
        name: str,
        secret: str | None = None,
        hardware: str | None = None,
        wifi: dict[str, str | None] | None = None,
    ) -> dict[str, Any]:
        """Return a board's configuration; without `wifi`, its owner enters the network."""
        host, port = self.mqtt()
        made: dict[str, Any] = {"product_id": product, "device_name": name}
        if secret:
            made["device_secret"] = secret
        if hardware:
            made["hardware"] = hardware
        made["version"] = "0.1"
        if self.topic_prefix != OWN:
            made["topics"] = {
                kind: f"{self.topic_prefix}/{kind}/{{product_id}}/{{device_name}}"
                for kind in ("report", "update")
            }
        made["wifi"] = wifi or PLACEHOLDER
        made["mqtt"] = {"host": host}
        if port != (8883 if self.tls else 1883):
            made["mqtt"]["port"] = port
        if self.tls:
            made["mqtt"] |= {"tls": True, "ca": "/ca.pem"}
            made["http"] = {"ca": "/ca.pem"}
        return made
