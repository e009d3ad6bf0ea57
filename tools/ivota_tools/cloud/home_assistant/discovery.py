"""Create the messages of Home Assistant's MQTT discovery, in pure functions."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ...common import project_files
from ..rollout import assignment_states
from ..store.models import Device, Firmware

PREFIX = "homeassistant"
BIRTH = f"{PREFIX}/status"  # Home Assistant says `online` here when it starts
ONLINE, OFFLINE, INSTALL = b"online", b"offline", b"INSTALL"
SUMMARY_MOST = 255  # characters; Home Assistant rejects more
_BUSY = (*assignment_states.ACTIVE, assignment_states.CURRENT)

Messages = dict[str, bytes]  # by topic; all are retained


class Topics:
    """The topics of one cloud; `base` tells its entities from those of other clouds."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.status = f"{base}/status"
        self.connection = f"{PREFIX}/binary_sensor/{base}/config"
        self.configs = f"{PREFIX}/update/+/config"
        self.commands = f"{base}/+/install"

    def node(self, device: Device) -> str:
        """Return the id of a device, in the few characters that Home Assistant allows."""
        return f"{self.base}_{hashlib.sha256(device.name.encode()).hexdigest()[:16]}"

    def config(self, node: str) -> str:
        return f"{PREFIX}/update/{node}/config"

    def state(self, node: str) -> str:
        return f"{self.base}/{node}/state"

    def node_of_config(self, topic: str) -> str | None:
        """Return the node of one of our configurations; None for another program's."""
        words = topic.split("/")
        ours = len(words) == 4 and words[:2] == [PREFIX, "update"] and words[3] == "config"
        return words[2] if ours and words[2].startswith(f"{self.base}_") else None

    def node_of_command(self, topic: str) -> str | None:
        words = topic.split("/")
        ours = len(words) == 3 and words[0] == self.base and words[2] == "install"
        return words[1] if ours else None


def connection(topics: Topics, url: str) -> Messages:
    """Create the message for the cloud's own device, to which its boards' devices belong."""
    made = {
        "name": "Connection",
        "unique_id": f"{topics.base}_status",
        "device_class": "connectivity",
        "state_topic": topics.status,
        "payload_on": ONLINE.decode(),
        "payload_off": OFFLINE.decode(),
        "device": {
            "identifiers": [topics.base],
            "name": "ivota cloud",
            "manufacturer": "ivota",
            "configuration_url": url,
        },
        "origin": _origin(),
    }
    return {topics.connection: _encode(made)}


def entity(
    topics: Topics, device: Device, latest: Firmware | None, why: str, url: str, install: bool
) -> Messages:
    """The update entity of a device. `latest` is offered; `why` explains the state."""
    node = topics.node(device)
    config: dict[str, Any] = {
        "name": "Firmware",
        "unique_id": node,
        "device_class": "firmware",
        "title": device.application or "firmware",
        "state_topic": topics.state(node),
        "availability_topic": topics.status,
        "device": {
            "identifiers": [node],
            "name": device.device_name,
            "manufacturer": "ivota",
            "model": device.hardware or device.product_id,
            "via_device": topics.base,
            "configuration_url": url,
        },
        "origin": _origin(),
    }
    if install:
        config["command_topic"] = f"{topics.base}/{node}/install"
        config["payload_install"] = INSTALL.decode()
    return {
        topics.config(node): _encode(config),
        topics.state(node): _encode(state(device, latest, why, url)),
    }


def state(device: Device, latest: Firmware | None, why: str, url: str) -> dict[str, Any]:
    running, attempt = assignment_states.running(device), device.assignment
    busy = attempt is not None and attempt.state in _BUSY
    downloading = attempt is not None and attempt.state == assignment_states.DOWNLOADING
    made: dict[str, Any] = {
        "installed_version": running,
        "latest_version": latest.version if latest else running,
        "in_progress": busy,
        "update_percentage": attempt.percent if attempt and downloading else None,
        "release_summary": why[:SUMMARY_MOST],
        "release_url": url,
    }
    # A version that is not known is left out: null would make the whole message invalid.
    return {key: value for key, value in made.items() if value is not None or "version" not in key}


def _origin() -> dict[str, str]:
    return {"name": "ivota", "sw_version": project_files.version()}


def _encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode()
