"""Brokers that are hostile or unusual; each handles a connection from its first byte."""

from __future__ import annotations

import itertools
import socket

from .server import TOPIC, Peer, Serve, good_broker, message

CONNECT, PUBLISH, PUBACK, SUBSCRIBE = 0x10, 0x30, 0x40, 0x80
GOOD = message(TOPIC, b"good")


def instead(wanted: int, data: bytes = b"") -> Serve:
    """Answer normally up to the first packet `wanted`, then send `data` and nothing more."""

    def serve(peer: Peer) -> None:
        peer.until(wanted)
        peer.send(data)
        peer.hold()

    return serve


def puback(data: bytes = b"") -> Serve:
    """Answer each PUBLISH with `data`, and everything else normally."""

    def serve(peer: Peer) -> None:
        while True:
            head, body = peer.packet()
            if head & 0xF0 == PUBLISH:
                peer.send(data)
            else:
                peer.answer(head, body)

    return serve


connack_never = instead(CONNECT)
connack_half = instead(CONNECT, b"\x20\x02")
connack_other = instead(CONNECT, b"\xd0\0\0\0")
suback_never = instead(SUBSCRIBE)
puback_half = instead(PUBLISH, b"\x40\x02\0")
puback_never = puback()
puback_other = puback(b"\x40\x02\x12\x34")


def connack_closed(peer: Peer) -> None:
    peer.packet()


def silent(peer: Peer) -> None:
    peer.hold()


def suback_half(peer: Peer) -> None:
    body = peer.until(SUBSCRIBE)
    peer.send(b"\x90\x03" + body[:1])
    peer.hold()


def puback_late(peer: Peer) -> None:
    """Send PUBACK half a second after the PUBLISH, before the next message."""
    peer.answer(*peer.packet())
    while True:
        body = peer.until(PUBLISH)
        ident = body[2 + len(TOPIC) : 4 + len(TOPIC)]
        peer.drip(b"\x40", 0.5)
        peer.send(b"\x02" + ident + GOOD)


def suback_late(peer: Peer) -> None:
    """Send SUBACK half a second after the SUBSCRIBE, before the next message."""
    body = peer.until(SUBSCRIBE)
    peer.drip(b"\x90", 0.5)
    peer.send(b"\x03" + body[:2] + b"\x01" + GOOD)
    good_broker(peer)


def after_connect(data: bytes, then: Serve) -> Serve:
    """Send `data` after the answer to CONNECT, and to SUBSCRIBE if one follows at once."""

    def serve(peer: Peer) -> None:
        peer.answer(*peer.packet())
        peer.sock.settimeout(0.2)
        try:
            while True:
                peer.answer(*peer.packet())
        except TimeoutError:
            peer.sock.settimeout(None)
        peer.send(data)
        then(peer)

    return serve


# Like a broker behind a router that has forgotten the connection.
half_open = after_connect(b"", Peer.hold)


def drip_for_ever(peer: Peer) -> None:
    peer.drip(itertools.repeat(0xFF))


def flood(peer: Peer) -> None:
    peer.pour(b"\xff" * 4096)


def deaf_after_connect(peer: Peer) -> None:
    peer.answer(*peer.packet())
    body = peer.packet()[1] if peek(peer) == 0x82 else None
    if body is not None:
        peer.answer(0x82, body)
    peer.deaf()


def peek(peer: Peer) -> int:
    return peer.sock.recv(1, socket.MSG_PEEK)[0]


def keep_alive(peer: Peer) -> None:
    """Drop a client that sends nothing for the keep-alive time."""
    peer.sock.settimeout(1.0)
    try:
        while True:
            peer.answer(*peer.packet())
    except TimeoutError:
        raise ValueError("the client let the link go stale") from None


def oversized(peer: Peer) -> None:
    while True:
        head, body = peer.packet()
        if head == 0x82:
            peer.send(b"\x90\x03" + body[:2] + b"\x01" + message(TOPIC, bytes(200_000)) + GOOD)
        else:
            peer.answer(head, body)


def ask_at_once(peer: Peer) -> None:
    """Send a push with QoS 1; its acknowledgement must arrive before the download starts."""
    peer.until(SUBSCRIBE)
    peer.send(b"\x90\x03\0\x01\x01\x32\x09\0\x01t\0\x07good")
    peer.sock.settimeout(0.6)
    try:
        peer.until(PUBACK)
    except TimeoutError:
        raise ValueError("the message was not acknowledged in time") from None
    peer.sock.settimeout(None)
    good_broker(peer)


def report_lost(peer: Peer) -> None:
    """Close the connection instead of acknowledging a report; the client must send it again."""
    peer.sock.settimeout(0.6)
    try:
        while True:
            head, body = peer.packet()
            reported = head & 0xF6 == 0x32 and b"done" in body
            if reported and peer.number == 1:
                return
            peer.answer(head, body)
            if reported:
                break
    except TimeoutError:
        raise ValueError("the report did not come again") from None
    peer.sock.settimeout(None)
    good_broker(peer)
