"""How the host's MQTT clients end."""

from __future__ import annotations

import contextlib

import paho.mqtt.client as mqtt


def end(client: mqtt.Client) -> None:
    """Leaves the broker, and waits for the client's thread."""
    client.disconnect()
    # paho 2.1 looks for its thread and then joins it: one that has ended in between is None.
    with contextlib.suppress(AttributeError):
        client.loop_stop()
