"""MQTT's CONNECT as the sign-in front reads it."""

import base64
import hmac
import struct

from ..target import Bound, Mistake, Target

_USER = "Pd;12010126;12345;2000000000"
_PAST = "Pd;12010126;12345;1000000000"


def password(user: str = _USER, method: str = "sha256") -> str:
    """Return the password for a user name by the vendor's rule."""
    key = base64.b64decode("c2VjcmV0")
    return f"{hmac.new(key, user.encode(), method).hexdigest()};hmac{method}"


def _text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack(">H", len(data)) + data


def _packet(*fields: bytes, flags: int = 0xC2, name: str = "MQTT", level: int = 4) -> bytes:
    body = _text(name) + bytes([level, flags]) + b"\0\x78" + b"".join(fields)
    size, length = len(body), b""
    while True:
        length += bytes([size & 0x7F | (0x80 if size > 0x7F else 0)])
        size >>= 7
        if not size:
            return b"\x10" + length + body


def seeds() -> dict[str, bytes]:
    good = _packet(_text("Pd"), _text(_USER), _text(password()))
    will = (_text("Pd"), _text("t"), _text("bye"), _text(_USER), _text(password()))
    return {
        "good": good,
        "good-will": _packet(*will, flags=0xC6),
        "good-level-3": _packet(
            _text("Pd"), _text(_USER), _text(password()), name="MQIsdp", level=3
        ),
        "sha1": _packet(_text("Pd"), _text(_USER), _text(password(method="sha1"))),
        "another-method": _packet(_text("Pd"), _text(_USER), _text("x;hmacmd5")),
        "no-password": _packet(_text("Pd"), _text(_USER), flags=0x82),
        "no-user": _packet(_text("Pd"), flags=0x02),
        "password-without-user": _packet(_text("Pd"), _text("x"), flags=0x42),
        "good-but-expired": _packet(_text("Pd"), _text(_PAST), _text(password(_PAST))),
        "expiry-huge": _packet(
            _text("Pd"), _text("Pd;12010126;1;" + "9" * 3000), _text("x;hmacsha1")
        ),
        "expiry-other-digits": _packet(
            _text("Pd"), _text("Pd;12010126;1;\u0661"), _text("x;hmacsha1")
        ),
        "version-5": _packet(_text("Pd"), level=5),
        "no-mqtt": _packet(_text("Pd"), name="HTTP"),
        "http": b"GET / HTTP/1.1\r\n\r\n",
        "tls": b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        "length-endless": b"\x10" + b"\xff" * 20,
        "length-too-long": b"\x10\xff\xff\xff\x7f",
        "length-beyond": b"\x10\x7f" + good[2:],
        "text-beyond": _packet(b"\xff\xffPd"),
        "will-beyond": _packet(_text("Pd"), _text("t"), flags=0x06),
        "not-utf8": _packet(_text(b"\xff"), _text(_USER), _text("x")),
        "nul": _packet(_text("P\0d"), _text("a\0"), _text("\0")),
        "surrogate": _packet(_text(b"\xed\xa0\x80")),
        "cut-in-the-keep-alive": b"\x10\x08" + _text("MQTT") + b"\x04\x02",
        "bytes-behind": _packet(_text("Pd"), _text(_USER), _text(password()), b"more"),
        "nothing": b"",
    }


TARGET = Target(
    about="a CONNECT packet and its sign-in",
    code=(
        "tools/ivota_tools/cloud/mqtt/connect_packet.py",
        "tools/ivota_tools/cloud/mqtt/device_sign_in.py",
    ),
    device=False,
    seeds=seeds,
    lines=Bound(3_000, 20),
    words=("MQTT", "MQIsdp", ";12010126;", ";hmacsha256", ";hmacsha1", "2000000000"),
    mistakes=(
        Mistake(
            "does not compare the signature's user",
            (
                (
                    "tools/ivota_tools/cloud/mqtt/device_sign_in.py",
                    " or parts[0] != client_id or",
                    " or",
                ),
            ),
        ),
        Mistake(
            "accepts any expiry",
            (
                (
                    "tools/ivota_tools/cloud/mqtt/device_sign_in.py",
                    "if _expired(parts[3], now):",
                    "if False:",
                ),
            ),
        ),
        Mistake(
            "loses a will",
            (
                (
                    "tools/ivota_tools/cloud/mqtt/connect_packet.py",
                    "middle = start[: len(start) - len(rest)]",
                    'middle = b""',
                ),
            ),
        ),
        Mistake(
            "compares half of the digest",
            (
                (
                    "tools/ivota_tools/cloud/mqtt/device_sign_in.py",
                    "hmac.compare_digest(digest.lower().encode(), right.encode())",
                    "digest.lower()[:8] == right[:8]",
                ),
            ),
        ),
    ),
)
