"""The dialect of Aliyun's IoT Platform (docs/protocol.md), for a product's default module.

`product_id` is its ProductKey, `device_name` its DeviceName, `device_secret` its DeviceSecret.
"""

import json
import os

from ivota import once

# Version reports and questions have topics of their own; the board subscribes to two topics.
TOPICS = {
    "report": "/ota/device/progress/{product_id}/{device_name}",
    "version": "/ota/device/inform/{product_id}/{device_name}",
    "ask": "/sys/{product_id}/{device_name}/thing/ota/firmware/get",
    "update": "/ota/device/upgrade/{product_id}/{device_name}\n"
    "/sys/{product_id}/{device_name}/thing/ota/firmware/get_reply",
}

# Our codes for a failed download and a failed verification; anything else is a failed update.
_STEPS = {-1: -2, -2: -2, -3: -2, -4: -3}

_last = int.from_bytes(os.urandom(4), "big")  # the id of the last message


def report_version(version):
    """Create the `inform` message with the running version; a new version ends an update."""
    return _message({"version": version})


def report_progress(state, version, percent=None, code=0, message="", echo=None):
    """Create the `progress` message: a percentage, or a negative number for a failure."""
    step = 100
    if state == "downloading":
        step = max(percent, 1)
    elif state == "fail":
        step = -4 if message.startswith("flash: ") else _STEPS.get(code, -1)
    return _message({"step": str(step), "desc": message or state})


def ask(client):
    """Ask for a pending update; called with each report of the version.

    Aliyun pushes an update only once; its URL expires, and the board loses it in a restart.
    """
    more = {"version": "1.0", "method": "thing.ota.firmware.get"}
    client.enqueue("ask", _message({}, more))
    client.asked = str(_last)


def is_answer(message, _version, asked):
    """Return whether `message` is the cloud's answer to the question with the id `asked`.

    A push has its own id and the code 1000.
    """
    return (
        message.get("code") in (200, "200")
        and isinstance(message.get("data"), dict)
        and str(message.get("id")) == asked
    )


def update_firmware(message):
    """Translate a push, or the answer to `ask`, into the form of `tencent`; None for other
    messages.
    """
    data = message.get("data")
    if message.get("code") not in ("1000", 1000, 200, "200") or not isinstance(data, dict):
        return None
    # A device can have other modules with other updaters. Without an update, `data` is empty.
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
    """Return (client id, user name, password) for one connection."""
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
