"""Disconnect an MQTT client and join its thread."""

from __future__ import annotations

import contextlib

import paho.mqtt.client as mqtt


def end(client: mqtt.Client) -> None:
    """Disconnect from the broker, and wait for the client's thread."""
    client.disconnect()
    # paho 2.1 checks for its thread before joining it: if the thread ends in between, it is None.
    with contextlib.suppress(AttributeError):
        client.loop_stop()
