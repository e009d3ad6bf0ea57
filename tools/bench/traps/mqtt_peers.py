"""Brokers that are hostile, or do what any may, each from the first byte of a connection."""

from __future__ import annotations

import itertools
import socket

from .server import TOPIC, Peer, Serve, message

GOOD = message(TOPIC, b"good")


def connack_never(peer: Peer) -> None:
    peer.packet()
    peer.hold()


def connack_half(peer: Peer) -> None:
    peer.packet()
    peer.send(b"\x20\x02")
    peer.hold()


def connack_closed(peer: Peer) -> None:
    peer.packet()


def connack_other(peer: Peer) -> None:
    peer.packet()
    peer.send(b"\xd0\0\0\0")
    peer.hold()


def silent(peer: Peer) -> None:
    peer.hold()


def suback_never(peer: Peer) -> None:
    peer.until(0x80)
    peer.hold()


def suback_half(peer: Peer) -> None:
    body = peer.until(0x80)
    peer.send(b"\x90\x03" + body[:1])
    peer.hold()


def puback_never(peer: Peer) -> None:
    while True:
        head, body = peer.packet()
        if head & 0xF0 != 0x30:
            peer.answer(head, body)


def puback_other(peer: Peer) -> None:
    while True:
        head, body = peer.packet()
        if head & 0xF0 == 0x30:
            peer.send(b"\x40\x02\x12\x34")
        else:
            peer.answer(head, body)


def puback_half(peer: Peer) -> None:
    peer.until(0x30)
    peer.send(b"\x40\x02\0")
    peer.hold()


def puback_late(peer: Peer) -> None:
    """Half a second after the PUBLISH, before the next message."""
    peer.answer(*peer.packet())
    while True:
        head, body = peer.packet()
        if head & 0xF0 != 0x30:
            peer.answer(head, body)
            continue
        ident = body[2 + len(TOPIC) : 4 + len(TOPIC)]
        peer.drip(b"\x40", 0.5)
        peer.send(b"\x02" + ident + GOOD)


def suback_late(peer: Peer) -> None:
    """Half a second after the SUBSCRIBE, before the next message."""
    body = peer.until(0x80)
    peer.drip(b"\x90", 0.5)
    peer.send(b"\x03" + body[:2] + b"\x01" + GOOD)
    broker(peer)


def after_connect(data: bytes, then: Serve) -> Serve:
    """What comes behind the answers to CONNECT, and to SUBSCRIBE where one comes at once."""

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


def half_open(peer: Peer) -> None:
    """A broker behind a router that has forgotten the connection."""
    peer.answer(*peer.packet())
    peer.sock.settimeout(0.2)
    try:
        while True:
            peer.answer(*peer.packet())
    except TimeoutError:
        peer.sock.settimeout(None)
    peer.hold()


def keep_alive(peer: Peer) -> None:
    """A broker that drops whoever says nothing for a keep-alive."""
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
    """A push with QoS 1, whose acknowledgement has to come before the download does."""
    peer.until(0x80)
    peer.send(b"\x90\x03\0\x01\x01\x32\x09\0\x01t\0\x07good")
    peer.sock.settimeout(0.6)
    try:
        peer.until(0x40)
    except TimeoutError:
        raise ValueError("the message was not acknowledged in time") from None
    peer.sock.settimeout(None)
    while True:
        peer.answer(*peer.packet())


def broker(peer: Peer) -> None:
    while True:
        peer.answer(*peer.packet())


def report_lost(peer: Peer) -> None:
    """Leaves instead of acknowledging a report: the next connection has to bring it again."""
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
    broker(peer)
