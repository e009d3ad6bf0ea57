"""Create the messages for Home Assistant's MQTT discovery."""

import binascii
import hashlib
import json

from micropython import const

from ivota import __version__

_SUMMARY = const(255)  # characters; Home Assistant rejects more


def node(config):
    """Return the entity's id, in the few characters that Home Assistant allows."""
    name = config["product_id"] + "/" + config["device_name"]
    digest = hashlib.sha256(name.encode()).digest()
    return "ivota_" + binascii.hexlify(digest[:8]).decode()


def message(kind, entity, facts):
    """Return the text of a message: `config`, `state` or `status`."""
    if kind == "status":
        return "online"
    return json.dumps(_config(entity) if kind == "config" else _state(*facts))


def _config(entity):
    config = entity.client.config
    made = {
        "name": "Firmware",
        "unique_id": entity.node,
        "device_class": "firmware",
        "title": entity.client.application or "firmware",
        "state_topic": entity.base + "/state",
        "availability_topic": entity.base + "/status",
        "qos": 1,
        "device": {
            "identifiers": [entity.node],
            "name": config["device_name"],
            "manufacturer": "ivota",
            "model": config["hardware"] or config["product_id"],
        },
        "origin": {"name": "ivota", "sw_version": __version__},
    }
    if entity.mode == "install":
        made["command_topic"] = entity.base + "/install"
        made["payload_install"] = entity.command()
    return made


def _state(version, latest, busy, percent, why):
    return {
        "installed_version": version,
        "latest_version": latest,
        "in_progress": busy,
        "update_percentage": percent,
        "release_summary": why[:_SUMMARY],
    }


def failure(text):
    """Return (version, reason) if a final report says that an update failed, or None."""
    try:
        report = json.loads(text)["report"]
        progress = report["progress"]
        if progress["state"] == "fail":
            return report["version"], progress["result_msg"]
    except (ValueError, KeyError, TypeError):  # of another dialect, or junk from flash
        pass
    return None
