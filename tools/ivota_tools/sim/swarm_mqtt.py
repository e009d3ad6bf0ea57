"""Implement just enough MQTT 3.1.1 for a swarm: one asyncio protocol per device."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

CONNECT_S = 30.0
KEEPALIVE_S = 120

Received = Callable[[str, bytes], None]


class LinkError(OSError):
    """The broker refused, or the link was lost."""


class Link(asyncio.Protocol):
    """A connection with QoS 0 and 1; `received(topic, payload)` is called for each message."""

    def __init__(self, client_id: str, received: Received) -> None:
        self._client_id = client_id
        self._received = received
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._next_id = 0
        self._subscribed = False
        self.closed = asyncio.get_running_loop().create_future()

    async def open(self, host: str, port: int, topic: str) -> None:
        """Connect and subscribe with QoS 1. Raises LinkError or OSError."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, host, port)
        head = b"\x00\x04MQTT\x04\x02" + struct.pack(">H", KEEPALIVE_S)
        await self._ask(0, _packet(0x10, head + _text(self._client_id)))
        number = self._number()
        body = struct.pack(">H", number) + _text(topic) + b"\x01"
        await self._ask(number, _packet(0x82, body))
        self._subscribed = True

    @property
    def is_open(self) -> bool:
        """Subscribe, so that pushes arrive."""
        return self._subscribed and not self.closed.done()

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        """Publish. With QoS 1, return when the broker has acknowledged it. Raises LinkError."""
        if qos == 0:
            self._send(_packet(0x30, _text(topic) + payload))
            return
        number = self._number()
        body = _text(topic) + struct.pack(">H", number) + payload
        await self._ask(number, _packet(0x32, body))

    def ping(self) -> None:
        """Show the broker that the device is still there. Raises LinkError."""
        self._send(b"\xc0\0")

    def close(self) -> None:
        if self._transport:
            self._transport.close()

    async def _ask(self, number: int, packet: bytes) -> None:
        answer = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self._send(packet)
        try:
            await asyncio.wait_for(answer, CONNECT_S)
        finally:
            self._waiting.pop(number, None)

    def _send(self, packet: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise LinkError("not connected to the broker")
        self._transport.write(packet)

    def _number(self) -> int:
        self._next_id = self._next_id % 65535 + 1
        return self._next_id

    # --- called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(LinkError("the connection to the broker was lost"))
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (found := _split(self._buffer)) is not None:
            kind, body, size = found
            del self._buffer[:size]
            self._take(kind, body)

    def _take(self, kind: int, body: bytes) -> None:
        if kind >> 4 == 3:
            (length,) = struct.unpack_from(">H", body)
            topic, rest = body[2 : 2 + length].decode(), body[2 + length :]
            if kind & 0x06:
                self._send(b"\x40\x02" + rest[:2])
                rest = rest[2:]
            self._received(topic, rest)
        elif kind == 0x20:
            self._answer(0, body[1] == 0)
        elif kind in (0x40, 0x90):
            self._answer(struct.unpack_from(">H", body)[0], kind == 0x40 or body[2] < 0x80)

    def _answer(self, number: int, fine: bool) -> None:
        answer = self._waiting.get(number)
        if answer is None or answer.done():
            return
        if fine:
            answer.set_result(None)
        else:
            answer.set_exception(LinkError("the broker rejected the request"))


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def _packet(kind: int, body: bytes) -> bytes:
    size, length = len(body), bytearray()
    while True:
        size, low = divmod(size, 128)
        length.append(low | (0x80 if size else 0))
        if not size:
            return bytes([kind]) + length + body


def _split(data: bytearray) -> tuple[int, bytes, int] | None:
    """Parse a complete packet: (first byte, body, total length)."""
    size = shift = 0
    for at in range(1, min(len(data), 5)):
        size |= (data[at] & 0x7F) << shift
        shift += 7
        if not data[at] & 0x80:
            end = at + 1 + size
            return (data[0], bytes(data[at + 1 : end]), end) if len(data) >= end else None
    return None
