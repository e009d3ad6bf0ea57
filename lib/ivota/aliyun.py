"""The dialect of Aliyun's IoT Platform (docs/protocol.md): a product's default module.

`product_id` is its ProductKey, `device_name` its DeviceName, `device_secret` its DeviceSecret.
"""

import json
import os

from ivota import once

# Reports of the version and questions have topics of their own; two are subscribed.
TOPICS = {
    "report": "/ota/device/progress/{product_id}/{device_name}",
    "version": "/ota/device/inform/{product_id}/{device_name}",
    "ask": "/sys/{product_id}/{device_name}/thing/ota/firmware/get",
    "update": "/ota/device/upgrade/{product_id}/{device_name}\n"
    "/sys/{product_id}/{device_name}/thing/ota/firmware/get_reply",
}

# Ours for a failed download, a failed verification; all else is a failed update.
_STEPS = {-1: -2, -2: -2, -3: -2, -4: -3}

_last = int.from_bytes(os.urandom(4), "big")  # the id of the message before


def report_version(version):
    """The message to `inform` for the version that runs; one that is new ends an update."""
    return _message({"version": version})


def report_progress(state, version, percent=None, code=0, message="", echo=None):
    """The message to `progress`: a percentage, or below zero what has failed."""
    step = 100
    if state == "downloading":
        step = max(percent, 1)
    elif state == "fail":
        step = -4 if message.startswith("flash: ") else _STEPS.get(code, -1)
    return _message({"step": str(step), "desc": message or state})


def ask(client):
    """Ask for the update that waits for this device, with each report of the version.

    A push comes only once; its URL expires, and it is forgotten by a restart.
    """
    more = {"version": "1.0", "method": "thing.ota.firmware.get"}
    client.enqueue("ask", _message({}, more))
    client.asked = str(_last)


def is_answer(message, _version, asked):
    """Whether `message` is the cloud's answer to the question with the id `asked`.

    A push has an id of its own, and 1000 for its code.
    """
    return (
        message.get("code") in (200, "200")
        and isinstance(message.get("data"), dict)
        and str(message.get("id")) == asked
    )


def update_firmware(message):
    """A push, or the answer to `ask`, in the words of `tencent`; None for anything else."""
    data = message.get("data")
    if message.get("code") not in ("1000", 1000, 200, "200") or not isinstance(data, dict):
        return None
    # A device may have other modules, which others update; without an update `data` is empty.
    if not data or data.get("module") not in (None, "", "default"):
        return None
    md5 = data.get("md5")
    if md5 is None and str(data.get("signMethod")).lower() == "md5":
        md5 = data.get("sign")
    return {
        "type": "update_firmware",
        "version": data.get("version"),
        "url": data.get("url"),
        "file_size": data.get("size"),
        "md5sum": md5,
    }


def sign_in(config):
    """(client id, user name, password) for one connection."""
    product, name = config["product_id"], config["device_name"]
    client_id = "%s|securemode=%d,signmethod=hmacsha256|" % (
        name,
        2 if config["mqtt"]["tls"] else 3,
    )
    signed = "clientId%sdeviceName%sproductKey%s" % (name, name, product)
    password = once("cloud_sign_in").hmac(config["device_secret"].encode(), signed.encode())
    return client_id, name + "&" + product, password


def _message(params, more=()):
    global _last
    _last = (_last + 1) & 0xFFFFFFFF
    message = {"id": str(_last), "params": params}
    message.update(more)
    return json.dumps(message)
