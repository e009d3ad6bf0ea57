"""The traps: what a hostile peer does, on which the bare libraries hang or fail silently."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from . import http_peers, mqtt_peers
from .server import Peer, Serve, good_broker

HANG, FAULT = "hang", "fault"
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


CASES = [
    Case(
        "connect_blocked_mqtt",
        HANG,
        "connect",
        mqtt_peers.silent,
        "connect has no limit",
        blocked=True,
    ),
    Case(
        "connack_never",
        HANG,
        "connect",
        mqtt_peers.connack_never,
        "the wait for CONNACK has no limit",
    ),
    Case(
        "connack_half",
        HANG,
        "connect",
        mqtt_peers.connack_half,
        "half a CONNACK is waited on for ever",
    ),
    Case(
        "tls_silent_mqtt",
        HANG,
        "connect_tls",
        mqtt_peers.silent,
        "the TLS handshake has no limit",
        options={"ca": _CA},
    ),
    Case(
        "suback_never",
        HANG,
        "subscribe",
        mqtt_peers.suback_never,
        "subscribe waits for SUBACK for ever",
    ),
    Case(
        "suback_half",
        HANG,
        "subscribe",
        mqtt_peers.suback_half,
        "half a SUBACK is waited on for ever",
    ),
    Case(
        "puback_never",
        HANG,
        "publish",
        mqtt_peers.puback_never,
        "publish waits for PUBACK for ever",
    ),
    Case(
        "puback_half",
        HANG,
        "publish",
        mqtt_peers.puback_half,
        "half a PUBACK is waited on for ever",
    ),
    Case(
        "puback_other_id",
        HANG,
        "publish",
        mqtt_peers.puback_other,
        "only other ids are acknowledged",
    ),
    Case(
        "packet_id_overflow",
        HANG,
        "publish_late",
        good_broker,
        "packet id 65536 is sent as 0, and its PUBACK never recognised",
        loses=False,
        options={"pid": "65535"},
    ),
    Case(
        "publish_blocked",
        HANG,
        "publish_much",
        mqtt_peers.deaf_after_connect,
        "a peer that reads nothing blocks a write",
        options={"many": "yes"},
    ),
    Case(
        "message_stops",
        HANG,
        "wait",
        mqtt_peers.after_connect(b"\x30\x20\0\x01thalf", Peer.hold),
        "a message that stops in its middle is waited on for ever",
    ),
    Case(
        "message_dripped",
        HANG,
        "wait",
        mqtt_peers.after_connect(b"\x30\xff\x7f\0\x01t", mqtt_peers.drip_for_ever),
        "a byte now and then keeps a message alive",
    ),
    Case(
        "length_dripped",
        HANG,
        "wait",
        mqtt_peers.after_connect(b"\x30", mqtt_peers.drip_for_ever),
        "the bytes of a length never end",
    ),
    Case(
        "length_flooded",
        HANG,
        "wait",
        mqtt_peers.after_connect(b"\x30", mqtt_peers.flood),
        "the bytes of a length never end, at full speed",
    ),
    Case(
        "pingresp_half",
        HANG,
        "wait",
        mqtt_peers.after_connect(b"\xd0", Peer.hold),
        "half a PINGRESP is waited on for ever",
    ),
    Case(
        "check_msg_blocks",
        HANG,
        "idle",
        mqtt_peers.after_connect(b"\x30", Peer.hold),
        "check_msg, which should not block, does after one byte",
    ),
    Case(
        "esp32_timeout_removed",
        HANG,
        "wait_esp32",
        mqtt_peers.after_connect(b"\x30\x20", Peer.hold),
        "wait_msg calls setblocking(True): on esp32 that removes the timeout",
    ),
    Case(
        "half_open",
        HANG,
        "ping",
        mqtt_peers.half_open,
        "no PINGRESP and nothing there look the same: a dead link is never noticed",
    ),
    Case(
        "connack_closed",
        FAULT,
        "connect",
        mqtt_peers.connack_closed,
        "a close before CONNACK is an IndexError",
    ),
    Case(
        "connack_other",
        FAULT,
        "connect",
        mqtt_peers.connack_other,
        "another packet in place of CONNACK is an AssertionError",
    ),
    Case(
        "puback_late",
        HANG,
        "publish_twice",
        mqtt_peers.puback_late,
        "of a late PUBACK only the first byte is read: the stream is out of step",
        options={"pid": str(0x3130), "keepalive": "4"},
        loses=False,
    ),
    Case(
        "suback_late",
        HANG,
        "subscribe_late",
        mqtt_peers.suback_late,
        "of a late SUBACK only the first byte is read: the stream is out of step",
        options={"keepalive": "4"},
        loses=False,
    ),
    Case(
        "no_ping",
        FAULT,
        "idle",
        mqtt_peers.keep_alive,
        "nothing pings for you",
        loses=False,
        options={"stay": "2500"},
    ),
    Case(
        "message_oversized",
        FAULT,
        "subscribe",
        mqtt_peers.oversized,
        "a message is read into RAM whole, whatever its size",
        loses=False,
        heap="96k",
    ),
    Case(
        "topic_not_ascii",
        FAULT,
        "subscribe_str",
        good_broker,
        "a str topic is counted in characters: the packet is corrupt",
        loses=False,
        options={"topic": "Größe"},
    ),
    Case(
        "topic_long",
        FAULT,
        "subscribe_long",
        good_broker,
        "a topic of 123 bytes cannot be subscribed",
        loses=False,
        options={"topic": "t" * 123},
    ),
    Case(
        "qos_2",
        FAULT,
        "publish_qos2",
        good_broker,
        "QoS 2 is sent, and then asserts",
        loses=False,
    ),
    Case(
        "callback_before_puback",
        FAULT,
        "slow_callback",
        mqtt_peers.ask_at_once,
        "PUBACK goes out only after the callback",
        loses=False,
    ),
    Case(
        "report_lost",
        FAULT,
        "publish_again",
        mqtt_peers.report_lost,
        "a report that nobody acknowledged is never sent again",
        ours="report",
        options={"bad": "2"},
    ),
    Case(
        "connect_blocked_http",
        HANG,
        "get",
        mqtt_peers.silent,
        "connect has no limit",
        blocked=True,
    ),
    Case(
        "tls_dripped_http",
        HANG,
        "get_https",
        http_peers.tls_dripped,
        "a byte now and then keeps a TLS handshake alive",
        options={"ca": _CA},
    ),
    Case(
        "status_never", HANG, "get", http_peers.status_never, "no timeout unless one is asked for"
    ),
    Case(
        "status_dripped",
        HANG,
        "get_timeout",
        http_peers.status_dripped,
        "the timeout is per receive",
    ),
    Case(
        "field_dripped",
        HANG,
        "get_timeout",
        http_peers.field_dripped,
        "the timeout is per receive",
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
    Case("body_stalls", HANG, "get", http_peers.body_stalls, "no timeout unless one is asked for"),
    Case(
        "body_dripped", HANG, "get_timeout", http_peers.body_dripped, "the timeout is per receive"
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
        "a header line is read into RAM whole, whatever its length",
        heap="128k",
    ),
    Case("body_short", FAULT, "get_timeout", http_peers.body_short, "a short body is no error"),
    Case(
        "body_pauses",
        FAULT,
        "get_twice",
        http_peers.body_pauses,
        "what a receive took before its timeout is dropped, uncounted",
        loses=False,
    ),
    Case(
        "redirect_relative",
        FAULT,
        "get_timeout",
        http_peers.redirected("/next"),
        "a relative redirect is a ValueError",
        loses=False,
        options={"bad": "2"},
    ),
    Case(
        "redirect_lower_case",
        FAULT,
        "get_timeout",
        http_peers.redirected("http://127.0.0.1:{port}/next", "location"),
        "a `location` in lower case is not seen: an empty file, and no error",
        loses=False,
        options={"bad": "2"},
    ),
    Case(
        "chunked",
        FAULT,
        "get_refused",
        http_peers.chunked("Transfer-Encoding"),
        "a chunked body is a ValueError, and the socket stays open",
    ),
    Case(
        "chunked_lower_case",
        FAULT,
        "get_timeout",
        http_peers.chunked("transfer-encoding"),
        "a body said in lower case to be chunked is handed over with its framing",
    ),
    Case(
        "host_without_port",
        FAULT,
        "get_timeout",
        http_peers.host_signed,
        "`Host` leaves the port out",
        loses=False,
    ),
]
