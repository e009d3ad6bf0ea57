"""The traps: what a hostile peer does, on which the bare libraries hang or fail silently."""

from __future__ import annotations

import itertools
import socket
from dataclasses import dataclass, field
from pathlib import Path

from .server import FIRMWARE, TOPIC, Peer, Serve, message

HANG, FAULT = "hang", "fault"
_GOOD = message(TOPIC, b"good")
# The authority that ours trusts; of the servers here none gets far enough to be judged.
_CA = str(Path(__file__).parent / "device" / "ca.pem")


@dataclass(frozen=True)
class Case:
    """One trap: `bare` is the action of device/bare.py that falls into it.

    `loses`: whether ours has to notice by closing the connection; else it works in spite of it.
    `ours`: which part of ours meets it, as device/ours.py names it, with its `options`.
    """

    name: str
    kind: str
    bare: str
    serve: Serve
    defect: str
    loses: bool = True
    heap: str | None = None  # of the bare library's process, as a small board has it
    blocked: bool = False
    ours: str = ""  # "link" or "download", by the library, unless told
    options: dict[str, str] = field(default_factory=dict)

    @property
    def library(self) -> str:
        return "requests" if self.bare.startswith("get") else "umqtt"


def _connack_never(peer: Peer) -> None:
    peer.packet()
    peer.hold()


def _connack_half(peer: Peer) -> None:
    peer.packet()
    peer.send(b"\x20\x02")
    peer.hold()


def _connack_closed(peer: Peer) -> None:
    peer.packet()


def _connack_other(peer: Peer) -> None:
    peer.packet()
    peer.send(b"\xd0\0\0\0")
    peer.hold()


def _silent(peer: Peer) -> None:
    peer.hold()


def _suback_never(peer: Peer) -> None:
    peer.until(0x80)
    peer.hold()


def _suback_half(peer: Peer) -> None:
    body = peer.until(0x80)
    peer.send(b"\x90\x03" + body[:1])
    peer.hold()


def _puback_never(peer: Peer) -> None:
    while True:
        head, body = peer.packet()
        if head & 0xF0 != 0x30:
            peer.answer(head, body)


def _puback_other(peer: Peer) -> None:
    while True:
        head, body = peer.packet()
        if head & 0xF0 == 0x30:
            peer.send(b"\x40\x02\x12\x34")
        else:
            peer.answer(head, body)


def _puback_half(peer: Peer) -> None:
    peer.until(0x30)
    peer.send(b"\x40\x02\0")
    peer.hold()


def _puback_late(peer: Peer) -> None:
    """Half a second after the PUBLISH, before the next message."""
    peer.answer(*peer.packet())
    while True:
        head, body = peer.packet()
        if head & 0xF0 != 0x30:
            peer.answer(head, body)
            continue
        ident = body[2 + len(TOPIC) : 4 + len(TOPIC)]
        peer.drip(b"\x40", 0.5)
        peer.send(b"\x02" + ident + _GOOD)


def _suback_late(peer: Peer) -> None:
    """Half a second after the SUBSCRIBE, before the next message."""
    body = peer.until(0x80)
    peer.drip(b"\x90", 0.5)
    peer.send(b"\x03" + body[:2] + b"\x01" + _GOOD)
    _broker(peer)


def _after_connect(data: bytes, then: Serve) -> Serve:
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


def _drip_for_ever(peer: Peer) -> None:
    peer.drip(itertools.repeat(0xFF))


def _flood(peer: Peer) -> None:
    peer.pour(b"\xff" * 4096)


def _deaf_after_connect(peer: Peer) -> None:
    peer.answer(*peer.packet())
    body = peer.packet()[1] if _peek(peer) == 0x82 else None
    if body is not None:
        peer.answer(0x82, body)
    peer.deaf()


def _peek(peer: Peer) -> int:
    return peer.sock.recv(1, socket.MSG_PEEK)[0]


def _half_open(peer: Peer) -> None:
    """A broker behind a router that has forgotten the connection."""
    peer.answer(*peer.packet())
    peer.sock.settimeout(0.2)
    try:
        while True:
            peer.answer(*peer.packet())
    except TimeoutError:
        peer.sock.settimeout(None)
    peer.hold()


def _keep_alive(peer: Peer) -> None:
    """A broker that drops whoever says nothing for a keep-alive."""
    peer.sock.settimeout(1.0)
    try:
        while True:
            peer.answer(*peer.packet())
    except TimeoutError:
        raise ValueError("the client let the link go stale") from None


def _oversized(peer: Peer) -> None:
    while True:
        head, body = peer.packet()
        if head == 0x82:
            peer.send(b"\x90\x03" + body[:2] + b"\x01" + message(TOPIC, bytes(200_000)) + _GOOD)
        else:
            peer.answer(head, body)


def _ask_at_once(peer: Peer) -> None:
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


def _broker(peer: Peer) -> None:
    while True:
        peer.answer(*peer.packet())


def _report_lost(peer: Peer) -> None:
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
    _broker(peer)


# HTTP


def _host_signed(peer: Peer) -> None:
    """A pre-signed URL whose signature covers Host, as object storage has them."""
    _, first = peer.request()
    if peer.host == f"127.0.0.1:{peer.port}":
        peer.partial(first)
        peer.send(FIRMWARE[first:])
    else:
        peer.head("HTTP/1.1 403 Forbidden", "Content-Length: 0", "")


def _status_never(peer: Peer) -> None:
    peer.request()
    peer.hold()


def _status_dripped(peer: Peer) -> None:
    peer.request()
    peer.drip(itertools.chain(b"HTTP/1.1 200 ", itertools.repeat(ord("O"))))


def _field_dripped(peer: Peer) -> None:
    peer.request()
    peer.head("HTTP/1.1 200 OK")
    peer.drip(itertools.chain(b"X: ", itertools.repeat(ord("x"))))


def _fields_endless(peer: Peer) -> None:
    peer.request()
    peer.head("HTTP/1.1 200 OK")
    peer.pour(b"X-More: and more\r\n" * 50)


def _fields_slow(peer: Peer) -> None:
    peer.request()
    peer.head("HTTP/1.1 200 OK")
    peer.drip(itertools.cycle(b"X: y\r\n"), 0.1)


def _field_long(peer: Peer) -> None:
    peer.request()
    peer.head("HTTP/1.1 200 OK", "X: " + "x" * 1_000_000)
    peer.partial(0)
    peer.send(FIRMWARE)


def _body_stalls(peer: Peer) -> None:
    _, first = peer.request()
    peer.partial(first)
    peer.send(FIRMWARE[first : first + 700])
    peer.hold()


def _body_dripped(peer: Peer) -> None:
    _, first = peer.request()
    peer.partial(first)
    peer.drip(FIRMWARE[first:])


def _body_short(peer: Peer) -> None:
    _, first = peer.request()
    peer.partial(first)
    peer.send(FIRMWARE[first:4500])


def _body_pauses(peer: Peer) -> None:
    _, first = peer.request()
    peer.partial(first)
    peer.send(FIRMWARE[first : first + 700])
    if not peer._closing.wait(0.4):
        peer.send(FIRMWARE[first + 700 :])


def _redirect(peer: Peer, location: str, field: str = "Location") -> None:
    peer.head("HTTP/1.1 302 Found", f"{field}: {location}", "")


def _redirect_stalls(peer: Peer) -> None:
    path, _ = peer.request()
    if path == "/f":
        _redirect(peer, f"http://127.0.0.1:{peer.port}/next")
    else:
        peer.hold()


def _redirect_loops(peer: Peer) -> None:
    peer.request()
    if not peer._closing.wait(0.05):
        _redirect(peer, f"http://127.0.0.1:{peer.port}/f")


def _redirected(location: str, field: str = "Location") -> Serve:
    """The file is at /next; `location` with {port} for the server's own."""

    def serve(peer: Peer) -> None:
        path, first = peer.request()
        if path == "/f":
            _redirect(peer, location.format(port=peer.port), field)
        else:
            peer.partial(first)
            peer.send(FIRMWARE[first:])

    return serve


def _chunked(field: str) -> Serve:
    def serve(peer: Peer) -> None:
        peer.request()
        peer.head("HTTP/1.1 200 OK", f"{field}: chunked", "")
        peer.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(FIRMWARE), FIRMWARE))

    return serve


def _tls_dripped(peer: Peer) -> None:
    """A handshake record of 16 KiB, so slow that no receive ever times out."""
    peer.send(b"\x16\x03\x03\x40\x00")
    peer.drip(itertools.chain(b"\x02\x00\x3f\xfc\x03\x03", itertools.repeat(0)))


CASES = [
    Case("connect_blocked_mqtt", HANG, "connect", _silent, "connect has no limit", blocked=True),
    Case("connack_never", HANG, "connect", _connack_never, "the wait for CONNACK has no limit"),
    Case("connack_half", HANG, "connect", _connack_half, "half a CONNACK is waited on for ever"),
    Case(
        "tls_silent_mqtt",
        HANG,
        "connect_tls",
        _silent,
        "the TLS handshake has no limit",
        options={"ca": _CA},
    ),
    Case("suback_never", HANG, "subscribe", _suback_never, "subscribe waits for SUBACK for ever"),
    Case("suback_half", HANG, "subscribe", _suback_half, "half a SUBACK is waited on for ever"),
    Case("puback_never", HANG, "publish", _puback_never, "publish waits for PUBACK for ever"),
    Case("puback_half", HANG, "publish", _puback_half, "half a PUBACK is waited on for ever"),
    Case("puback_other_id", HANG, "publish", _puback_other, "only other ids are acknowledged"),
    Case(
        "packet_id_overflow",
        HANG,
        "publish_late",
        _broker,
        "packet id 65536 is sent as 0, and its PUBACK never recognised",
        loses=False,
        options={"pid": "65535"},
    ),
    Case(
        "publish_blocked",
        HANG,
        "publish_much",
        _deaf_after_connect,
        "a peer that reads nothing blocks a write",
        options={"many": "yes"},
    ),
    Case(
        "message_stops",
        HANG,
        "wait",
        _after_connect(b"\x30\x20\0\x01thalf", Peer.hold),
        "a message that stops in its middle is waited on for ever",
    ),
    Case(
        "message_dripped",
        HANG,
        "wait",
        _after_connect(b"\x30\xff\x7f\0\x01t", _drip_for_ever),
        "a byte now and then keeps a message alive",
    ),
    Case(
        "length_dripped",
        HANG,
        "wait",
        _after_connect(b"\x30", _drip_for_ever),
        "the bytes of a length never end",
    ),
    Case(
        "length_flooded",
        HANG,
        "wait",
        _after_connect(b"\x30", _flood),
        "the bytes of a length never end, at full speed",
    ),
    Case(
        "pingresp_half",
        HANG,
        "wait",
        _after_connect(b"\xd0", Peer.hold),
        "half a PINGRESP is waited on for ever",
    ),
    Case(
        "check_msg_blocks",
        HANG,
        "idle",
        _after_connect(b"\x30", Peer.hold),
        "check_msg, which should not block, does after one byte",
    ),
    Case(
        "esp32_timeout_removed",
        HANG,
        "wait_esp32",
        _after_connect(b"\x30\x20", Peer.hold),
        "wait_msg calls setblocking(True): on esp32 that removes the timeout",
    ),
    Case(
        "half_open",
        HANG,
        "ping",
        _half_open,
        "no PINGRESP and nothing there look the same: a dead link is never noticed",
    ),
    Case(
        "connack_closed",
        FAULT,
        "connect",
        _connack_closed,
        "a close before CONNACK is an IndexError",
    ),
    Case(
        "connack_other",
        FAULT,
        "connect",
        _connack_other,
        "another packet in place of CONNACK is an AssertionError",
    ),
    Case(
        "puback_late",
        HANG,
        "publish_twice",
        _puback_late,
        "of a late PUBACK only the first byte is read: the stream is out of step",
        options={"pid": str(0x3130), "keepalive": "4"},
        loses=False,
    ),
    Case(
        "suback_late",
        HANG,
        "subscribe_late",
        _suback_late,
        "of a late SUBACK only the first byte is read: the stream is out of step",
        options={"keepalive": "4"},
        loses=False,
    ),
    Case(
        "no_ping",
        FAULT,
        "idle",
        _keep_alive,
        "nothing pings for you",
        loses=False,
        options={"stay": "2500"},
    ),
    Case(
        "message_oversized",
        FAULT,
        "subscribe",
        _oversized,
        "a message is read into RAM whole, whatever its size",
        loses=False,
        heap="96k",
    ),
    Case(
        "topic_not_ascii",
        FAULT,
        "subscribe_str",
        _broker,
        "a str topic is counted in characters: the packet is corrupt",
        loses=False,
        options={"topic": "Größe"},
    ),
    Case(
        "topic_long",
        FAULT,
        "subscribe_long",
        _broker,
        "a topic of 123 bytes cannot be subscribed",
        loses=False,
        options={"topic": "t" * 123},
    ),
    Case("qos_2", FAULT, "publish_qos2", _broker, "QoS 2 is sent, and then asserts", loses=False),
    Case(
        "callback_before_puback",
        FAULT,
        "slow_callback",
        _ask_at_once,
        "PUBACK goes out only after the callback",
        loses=False,
    ),
    Case(
        "report_lost",
        FAULT,
        "publish_again",
        _report_lost,
        "a report that nobody acknowledged is never sent again",
        ours="report",
        options={"bad": "2"},
    ),
    Case("connect_blocked_http", HANG, "get", _silent, "connect has no limit", blocked=True),
    Case(
        "tls_dripped_http",
        HANG,
        "get_https",
        _tls_dripped,
        "a byte now and then keeps a TLS handshake alive",
        options={"ca": _CA},
    ),
    Case("status_never", HANG, "get", _status_never, "no timeout unless one is asked for"),
    Case("status_dripped", HANG, "get_timeout", _status_dripped, "the timeout is per receive"),
    Case("field_dripped", HANG, "get_timeout", _field_dripped, "the timeout is per receive"),
    Case("fields_slow", HANG, "get_timeout", _fields_slow, "header lines that never end, slowly"),
    Case("fields_endless", HANG, "get_timeout", _fields_endless, "header lines that never end"),
    Case("body_stalls", HANG, "get", _body_stalls, "no timeout unless one is asked for"),
    Case("body_dripped", HANG, "get_timeout", _body_dripped, "the timeout is per receive"),
    Case(
        "redirect_stalls",
        HANG,
        "get_timeout",
        _redirect_stalls,
        "a redirect is followed without the timeout",
        options={"bad": "2"},
    ),
    Case(
        "redirect_loops",
        HANG,
        "get_timeout",
        _redirect_loops,
        "redirects are followed without a limit",
        options={"bad": "6"},
    ),
    Case(
        "field_long",
        FAULT,
        "get_timeout",
        _field_long,
        "a header line is read into RAM whole, whatever its length",
        heap="128k",
    ),
    Case("body_short", FAULT, "get_timeout", _body_short, "a short body is no error"),
    Case(
        "body_pauses",
        FAULT,
        "get_twice",
        _body_pauses,
        "what a receive took before its timeout is dropped, uncounted",
        loses=False,
    ),
    Case(
        "redirect_relative",
        FAULT,
        "get_timeout",
        _redirected("/next"),
        "a relative redirect is a ValueError",
        loses=False,
        options={"bad": "2"},
    ),
    Case(
        "redirect_lower_case",
        FAULT,
        "get_timeout",
        _redirected("http://127.0.0.1:{port}/next", "location"),
        "a `location` in lower case is not seen: an empty file, and no error",
        loses=False,
        options={"bad": "2"},
    ),
    Case(
        "chunked",
        FAULT,
        "get_refused",
        _chunked("Transfer-Encoding"),
        "a chunked body is a ValueError, and the socket stays open",
    ),
    Case(
        "chunked_lower_case",
        FAULT,
        "get_timeout",
        _chunked("transfer-encoding"),
        "a body said in lower case to be chunked is handed over with its framing",
    ),
    Case(
        "host_without_port",
        FAULT,
        "get_timeout",
        _host_signed,
        "`Host` leaves the port out",
        loses=False,
    ),
]
