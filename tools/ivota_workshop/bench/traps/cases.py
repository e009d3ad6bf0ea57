"""The traps: behaviour of hostile peers that makes the bare libraries hang or fail silently."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from . import http_peers, mqtt_peers
from .server import Peer, Serve, good_broker

HANG, FAULT = "hang", "fault"
# The authority that ours trusts; no server here gets far enough for its certificate to be checked.
_CA = str(Path(__file__).parent / "device" / "ca.pem")


@dataclass(frozen=True)
class Case:
    """One trap: `bare` is the action of device/bare.py that falls into it.

    `loses`: whether ours has to notice by closing the connection; otherwise it works in spite of
    it. `until` is the last version of the library that falls into it, empty if the newest does;
    `newer` is how later versions end. `ours`: which part of ours meets it, as device/ours.py names
    it, with its `options`.
    """

    name: str
    kind: str
    bare: str
    serve: Serve
    defect: str
    until: str = ""
    newer: str = "right"
    loses: bool = True
    heap: str | None = None  # of the bare library's process, like a small board's
    blocked: bool = False
    ours: str = ""  # "link" or "download"; "": depends on the library
    options: dict[str, str] = field(default_factory=dict)

    @property
    def library(self) -> str:
        return "requests" if self.bare.startswith("get") else "umqtt"

    def falls(self, version: str) -> bool:
        """Return whether that version of the library falls into the trap."""
        return not self.until or _numbers(version) <= _numbers(self.until)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


CASES = [
    Case(
        "connect_blocked_mqtt",
        HANG,
        "connect",
        mqtt_peers.silent,
        "connect has no timeout",
        blocked=True,
    ),
    Case(
        "connack_never",
        HANG,
        "connect",
        mqtt_peers.connack_never,
        "waiting for CONNACK has no timeout",
    ),
    Case(
        "connack_half",
        HANG,
        "connect",
        mqtt_peers.connack_half,
        "half a CONNACK: waits for the rest forever",
    ),
    Case(
        "tls_silent_mqtt",
        HANG,
        "connect_tls",
        mqtt_peers.silent,
        "the TLS handshake has no timeout",
        options={"ca": _CA},
    ),
    Case(
        "suback_never",
        HANG,
        "subscribe",
        mqtt_peers.suback_never,
        "subscribe waits for SUBACK forever",
    ),
    Case(
        "suback_half",
        HANG,
        "subscribe",
        mqtt_peers.suback_half,
        "half a SUBACK: waits for the rest forever",
    ),
    Case(
        "puback_never",
        HANG,
        "publish",
        mqtt_peers.puback_never,
        "publish waits for PUBACK forever",
    ),
    Case(
        "puback_half",
        HANG,
        "publish",
        mqtt_peers.puback_half,
        "half a PUBACK: waits for the rest forever",
    ),
    Case(
        "puback_other_id",
        HANG,
        "publish",
        mqtt_peers.puback_other,
        "a PUBACK for another packet id: waits for its own forever",
    ),
    Case(
        "packet_id_overflow",
        HANG,
        "publish_late",
        good_broker,
        "packet id 65536 is sent as 0, so its PUBACK never matches",
        loses=False,
        options={"pid": "65535"},
    ),
    Case(
        "publish_blocked",
        HANG,
        "publish_much",
        mqtt_peers.deaf_after_connect,
        "a write blocks if the peer stops reading",
        options={"many": "yes"},
    ),
    Case(
        "message_stops",
        HANG,
        "wait",
        mqtt_peers.after_connect(b"\x30\x20\0\x01thalf", Peer.hold),
        "a message that stops halfway: waits for the rest forever",
    ),
    Case(
        "message_dripped",
        HANG,
        "wait",
        mqtt_peers.after_connect(b"\x30\xff\x7f\0\x01t", mqtt_peers.drip_for_ever),
        "one byte now and then keeps an incomplete message alive",
    ),
    Case(
        "length_dripped",
        HANG,
        "wait",
        mqtt_peers.after_connect(b"\x30", mqtt_peers.drip_for_ever),
        "a length field that never ends, slowly",
    ),
    Case(
        "length_flooded",
        HANG,
        "wait",
        mqtt_peers.after_connect(b"\x30", mqtt_peers.flood),
        "a length field that never ends, at full speed",
    ),
    Case(
        "pingresp_half",
        HANG,
        "wait",
        mqtt_peers.after_connect(b"\xd0", Peer.hold),
        "half a PINGRESP: waits for the rest forever",
    ),
    Case(
        "check_msg_blocks",
        HANG,
        "idle",
        mqtt_peers.after_connect(b"\x30", Peer.hold),
        "check_msg should not block, but does after one byte",
    ),
    Case(
        "esp32_timeout_removed",
        HANG,
        "wait_esp32",
        mqtt_peers.after_connect(b"\x30\x20", Peer.hold),
        "wait_msg calls setblocking(True), which removes the timeout on esp32",
    ),
    Case(
        "half_open",
        HANG,
        "ping",
        mqtt_peers.half_open,
        "a missing PINGRESP looks like an idle link: a dead link goes unnoticed",
    ),
    Case(
        "connack_closed",
        FAULT,
        "connect",
        mqtt_peers.connack_closed,
        "a close before CONNACK raises IndexError",
    ),
    Case(
        "connack_other",
        FAULT,
        "connect",
        mqtt_peers.connack_other,
        "another packet in place of CONNACK raises AssertionError",
    ),
    Case(
        "puback_late",
        HANG,
        "publish_twice",
        mqtt_peers.puback_late,
        "only the first byte of a late PUBACK is read, so the stream is out of step",
        options={"pid": str(0x3130), "keepalive": "4"},
        loses=False,
    ),
    Case(
        "suback_late",
        HANG,
        "subscribe_late",
        mqtt_peers.suback_late,
        "only the first byte of a late SUBACK is read, so the stream is out of step",
        options={"keepalive": "4"},
        loses=False,
    ),
    Case(
        "no_ping",
        FAULT,
        "idle",
        mqtt_peers.keep_alive,
        "keep-alive pings are left to the application",
        loses=False,
        options={"stay": "2500"},
    ),
    Case(
        "message_oversized",
        FAULT,
        "subscribe",
        mqtt_peers.oversized,
        "a whole message is read into RAM, whatever its size",
        loses=False,
        heap="96k",
    ),
    Case(
        "topic_not_ascii",
        FAULT,
        "subscribe_str",
        good_broker,
        "the length of a str topic is counted in characters, which corrupts the packet",
        loses=False,
        options={"topic": "Größe"},
    ),
    Case(
        "topic_long",
        FAULT,
        "subscribe_long",
        good_broker,
        "subscribing to a topic of 123 bytes fails",
        until="1.7.0",
        loses=False,
        options={"topic": "t" * 123},
    ),
    Case(
        "qos_2",
        FAULT,
        "publish_qos2",
        good_broker,
        "publishing with QoS 2 sends the packet, then raises AssertionError",
        loses=False,
    ),
    Case(
        "callback_before_puback",
        FAULT,
        "slow_callback",
        mqtt_peers.ask_at_once,
        "PUBACK is sent only after the callback returns",
        loses=False,
    ),
    Case(
        "report_lost",
        FAULT,
        "publish_again",
        mqtt_peers.report_lost,
        "a message without PUBACK is never sent again",
        ours="report",
        options={"bad": "2"},
    ),
    Case(
        "connect_blocked_http",
        HANG,
        "get",
        mqtt_peers.silent,
        "connect has no timeout",
        blocked=True,
    ),
    Case(
        "tls_dripped_http",
        HANG,
        "get_https",
        http_peers.tls_dripped,
        "one byte now and then keeps a TLS handshake alive",
        options={"ca": _CA},
    ),
    Case("status_never", HANG, "get", http_peers.status_never, "no timeout by default"),
    Case(
        "status_dripped",
        HANG,
        "get_timeout",
        http_peers.status_dripped,
        "the timeout applies to each receive, not to the request",
    ),
    Case(
        "field_dripped",
        HANG,
        "get_timeout",
        http_peers.field_dripped,
        "the timeout applies to each receive, not to the request",
    ),
    Case(
        "fields_slow",
        HANG,
        "get_timeout",
        http_peers.fields_slow,
        "header lines that never end, slowly",
    ),
    Case(
        "fields_endless",
        HANG,
        "get_timeout",
        http_peers.fields_endless,
        "header lines that never end",
    ),
    Case("body_stalls", HANG, "get", http_peers.body_stalls, "no timeout by default"),
    Case(
        "body_dripped",
        HANG,
        "get_timeout",
        http_peers.body_dripped,
        "the timeout applies to each receive, not to the request",
    ),
    Case(
        "redirect_stalls",
        HANG,
        "get_timeout",
        http_peers.redirect_stalls,
        "a redirect is followed without the timeout",
        options={"bad": "2"},
    ),
    Case(
        "redirect_loops",
        HANG,
        "get_timeout",
        http_peers.redirect_loops,
        "redirects are followed without a limit",
        options={"bad": "6"},
    ),
    Case(
        "field_long",
        FAULT,
        "get_timeout",
        http_peers.field_long,
        "a whole header line is read into RAM, whatever its length",
        heap="128k",
    ),
    Case(
        "body_short",
        FAULT,
        "get_timeout",
        http_peers.body_short,
        "a truncated body raises no error",
        until="0.10.2",
        newer=FAULT,  # a ValueError, to which the only response is closing the connection
    ),
    Case(
        "body_pauses",
        FAULT,
        "get_twice",
        http_peers.body_pauses,
        "bytes received before a timeout are lost",
        loses=False,
    ),
    Case(
        "redirect_relative",
        FAULT,
        "get_timeout",
        http_peers.redirected("/next"),
        "a relative redirect raises ValueError",
        until="0.10.2",
        loses=False,
        options={"bad": "2"},
    ),
    Case(
        "redirect_lower_case",
        FAULT,
        "get_timeout",
        http_peers.redirected("http://127.0.0.1:{port}/next", "location"),
        "a lower-case `location` header is ignored: an empty file and no error",
        until="0.10.2",
        loses=False,
        options={"bad": "2"},
    ),
    Case(
        "chunked",
        FAULT,
        "get_refused",
        http_peers.chunked("Transfer-Encoding"),
        "a chunked body raises ValueError and leaves the socket open",
        until="0.10.2",
        loses=False,
    ),
    Case(
        "chunked_lower_case",
        FAULT,
        "get_timeout",
        http_peers.chunked("transfer-encoding"),
        "with a lower-case `transfer-encoding` header, a chunked body includes its framing",
        until="0.10.2",
        loses=False,
    ),
    Case(
        "host_without_port",
        FAULT,
        "get_timeout",
        http_peers.host_signed,
        "the `Host` header lacks the port",
        loses=False,
    ),
]
