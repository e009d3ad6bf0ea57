"""Parse an MQTT CONNECT packet, and rewrite it for the broker behind the proxy."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass

CONNECT_MOST = 8192  # bytes, with a will
LEVELS = {b"MQIsdp": 3, b"MQTT": 4}
BAD_VERSION, BAD_PASSWORD = 1, 4  # CONNACK's return codes


class Refused(Exception):
    """A rejected CONNECT; `code` is the return code of CONNACK, or None if it is not MQTT."""

    def __init__(self, why: str, code: int | None = None) -> None:
        super().__init__(why)
        self.code = code


@dataclass(frozen=True)
class Connect:
    """The parts of a CONNECT; `middle` contains the will, unparsed."""

    protocol: bytes
    flags: int
    keepalive: bytes
    client_id: str
    middle: bytes
    user: str
    password: str

    def as_user(self, user: str) -> bytes:
        """Return the packet with another client id and user name, and without a password."""
        head = struct.pack(">H", len(self.protocol)) + self.protocol
        head += bytes([LEVELS[self.protocol], self.flags & 0x3F | 0x80]) + self.keepalive
        return packet(0x10, head + _text(user) + self.middle + _text(user))


async def read_first(reader: asyncio.StreamReader) -> bytes:
    """Read the CONNECT at the start of a connection. Raises Refused, EOFError."""
    if (await reader.readexactly(1))[0] != 0x10:
        raise Refused("not an MQTT CONNECT packet")
    size = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        size |= (byte & 0x7F) << shift
        shift += 7
        if size > CONNECT_MOST or shift > 28:
            raise Refused("the CONNECT packet is too long")
        if not byte & 0x80:
            return await reader.readexactly(size)


def read_connect(body: bytes) -> Connect:
    """Parse a CONNECT without its fixed header. Raises Refused."""
    try:
        protocol, rest = _take(body)
        level, flags, keepalive, rest = rest[0], rest[1], rest[2:4], rest[4:]
        if LEVELS.get(protocol) != level:
            raise Refused(f"MQTT protocol level {level} is not supported", BAD_VERSION)
        client_id, rest = _take(rest)
        start = rest
        if flags & 0x04:  # the topic and message of a will
            _, rest = _take(_take(rest)[1])
        middle = start[: len(start) - len(rest)]
        user, rest = _take(rest) if flags & 0x80 else (b"", rest)
        password, rest = _take(rest) if flags & 0x40 else (b"", rest)
        words = client_id.decode(), middle, user.decode(), password.decode()
    except (IndexError, struct.error, UnicodeDecodeError):
        raise Refused("the CONNECT packet is incomplete") from None
    return Connect(protocol, flags, keepalive, *words)


def _take(data: bytes) -> tuple[bytes, bytes]:
    (size,) = struct.unpack_from(">H", data)
    if len(data) < 2 + size:
        raise IndexError
    return data[2 : 2 + size], data[2 + size :]


def packet(kind: int, body: bytes) -> bytes:
    """Put the fixed header in front of a packet's body."""
    return bytes([kind]) + _length(len(body)) + body


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def _length(size: int) -> bytes:
    out = b""
    while True:
        size, low = divmod(size, 128)
        out += bytes([low | (0x80 if size else 0)])
        if not size:
            return out
