"""Receive a broker's bytes: after a good CONNACK and SUBACK, or (first character C) instead."""

from wire import Wire

import ivota
from ivota import mqtt_session as module
from ivota.mqtt_session import Link

TOPIC = b"$ota/update/P/d"
MOST = 512
CONFIG = {
    "product_id": "P",
    "device_name": "d",
    "device_secret": None,
    "mqtt": {
        "host": "h",
        "port": 1883,
        "tls": False,
        "ca": None,
        "user": None,
        "password": None,
        "keepalive_s": 120,
        "max_message_bytes": MOST,
    },
    "http": {"timeout_s": 10},
    "retry": {"first_s": 1, "most_s": 300},
    "topics": {"update": TOPIC.decode()},
}


class Owner:
    def __init__(self):
        self.messages = []
        self.acks = self.ups = 0

    def on_message(self, payload):
        self.messages.append(bytes(payload))

    def on_up(self):
        self.ups += 1

    def on_idle(self):
        pass

    def on_acked(self):
        self.acks += 1

    def log(self, _level, _event, **_fields):
        pass


def good(sent):
    """Return a good broker's answers to a CONNECT and a SUBSCRIBE."""
    if sent[0] == 0x10:
        return b"\x20\x02\0\0"
    return b"\x90\x03" + sent[2:4] + b"\1" if sent[0] == 0x82 else b""


def check(data):
    owner = Owner()
    first = data[:1] == b"C"
    data = data[1:]
    with Wire(data if first else b"", module, ivota, answer=None if first else good) as wire:
        link = Link(CONFIG, owner)
        expected = None
        if not first:
            wire.ended = False
            link.step()
            link.step()
            assert link.up and owner.ups == 1
            assert link.publish("r", "x", 1) and link.waiting
            expected = link.waiting
            wire.out += data
            wire.ended = True
        for _ in range(2 * len(data) + 10):
            link.step()
            if link.retry.left_ms():
                break
        assert link.retry.left_ms() and not link.up and wire.connections == 1
        assert wire.closed and wire.ms < 60000
    for payload in owner.messages:
        assert ours(data, payload), "a message that was not on our topic"
        assert len(payload) <= MOST
    if owner.acks:
        assert not first and owner.acks == 1
        assert b"\x40" in data and expected.to_bytes(2, "big") in data
    return "%d %d" % (len(owner.messages), owner.acks)


def ours(data, payload):
    """Return whether the payload follows our topic, and the packet number if there is one."""
    at = 0 if payload else -1
    while payload:
        at = data.find(payload, at)
        if at < 0:
            return False
        before = data[:at]
        if before.endswith(TOPIC) or before[:-2].endswith(TOPIC):
            return True
        at += 1
    return TOPIC in data
