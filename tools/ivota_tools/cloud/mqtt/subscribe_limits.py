"""Limit what a device subscribes to, so that it cannot fill the broker with subscriptions.

The broker's rules decide only what it delivers: it stores each filter that a device names, and a
persistent session keeps them.
"""

from __future__ import annotations

import struct

from paho.mqtt.client import topic_matches_sub

from .connect_packet import packet

SUBSCRIBE = 0x82
FILTERS_MOST = 100  # in one packet


class SubscribeError(Exception):
    """A SUBSCRIBE that no broker accepts, or with too many filters."""


def only_own(data: bytes, own: str) -> bytes:
    """Rewrite a SUBSCRIBE, so that the device's session has at most two subscriptions.

    Filters that match the topic `own` become this topic. All others become one that receives
    nothing: the SUBACK must still answer each of them. Raises SubscribeError.
    """
    start = next(place for place in range(1, 5) if data[place] < 0x80) + 1
    made, at, count = data[start : start + 2], start + 2, 0
    try:
        while at < len(data):
            (size,) = struct.unpack_from(">H", data, at)
            name, qos = data[at + 2 : at + 2 + size].decode(), data[at + 2 + size]
            at, count = at + 3 + size, count + 1
            if count > FILTERS_MOST:
                raise SubscribeError(f"the SUBSCRIBE packet has more than {FILTERS_MOST} filters")
            kept = (own if _matches(name, own) else f"{own}/-").encode()
            made += struct.pack(">H", len(kept)) + kept + bytes([qos])
    except (struct.error, IndexError, UnicodeDecodeError):
        raise SubscribeError("the SUBSCRIBE packet is incomplete") from None
    return packet(SUBSCRIBE, made)


def _matches(name: str, topic: str) -> bool:
    return name == topic or bool(name) and topic_matches_sub(name, topic)
