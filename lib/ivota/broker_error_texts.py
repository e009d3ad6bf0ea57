"""Explain why the broker refused or ended a session."""

import errno

from micropython import const

from ivota import describe

_CLASHES = const(3)  # short sessions in a row, after which another client is suspected
_LEAST_S = const(15)  # for a broker that rejects a long keep-alive

# CONNACK's return codes in MQTT 3.1.1; umqtt raises MQTTException with them.
_CODES = {
    1: "the broker does not support MQTT 3.1.1",
    2: "the broker rejects the client id, or mqtt.keepalive_s is too long",
    3: "the broker is not available",
    4: "wrong user name or password",
    5: "the broker does not authorize this board",
}

NO_ANSWER = (
    "no message from the cloud for a minute: check that it is running, that topics, product_id "
    "and device_name are right, and that the broker forwards these topics"
)


def explain(error, link):
    """Describe the error in one line; `link` is not closed yet."""
    text = describe(error)
    why = None
    if text[:13] == "MQTTException":
        code = error.args[0]
        why = _CODES.get(code)
        mqtt = link.config["mqtt"]
        if code == 2 and mqtt["keepalive_s"] > _LEAST_S:  # the next try uses a shorter one
            mqtt["keepalive_s"] = max(mqtt["keepalive_s"] // 2, _LEAST_S)
    elif link.up and error.args and error.args[0] in (-1, errno.ECONNRESET):
        why = "the broker ended the session"
        if link.retry.tries >= _CLASHES:
            why += "; does another client have the same product_id and device_name?"
    elif text[:10] == "IndexError":  # umqtt indexes a response that did not arrive
        why = "the broker closed the connection without an answer"
    return text + ": " + why if why else text
