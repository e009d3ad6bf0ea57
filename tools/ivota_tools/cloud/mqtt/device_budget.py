"""How much one device may send: a rate and a burst, of packets and of bytes.

A device that reports every few seconds never comes near it. Of one that floods, messages with
QoS 0 are dropped, as the protocol allows, and all others wait: what was acknowledged is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aiolimiter import AsyncLimiter

PACKET_MOST = 70_000  # bytes of an MQTT packet: the broker takes payloads of 65,536


@dataclass(frozen=True)
class Budget:
    """Of each device: what it may send in the long run, and at once."""

    packets_per_s: float = 10.0
    packets_burst: int = 600
    bytes_per_s: float = 64 * 1024.0
    bytes_burst: int = 2 * 1024 * 1024


class DeviceBudget:
    """What is left of a device's budget, over all of its connections. For one event loop."""

    def __init__(self, budget: Budget) -> None:
        self._packets = AsyncLimiter(
            budget.packets_burst, budget.packets_burst / budget.packets_per_s
        )
        self._bytes = AsyncLimiter(budget.bytes_burst, budget.bytes_burst / budget.bytes_per_s)

    def has(self, size: int) -> bool:
        """Whether a packet of this size may pass now."""
        return self._packets.has_capacity(1) and self._bytes.has_capacity(size)

    async def take(self, size: int) -> None:
        """Returns once it may pass."""
        await self._packets.acquire(1)
        await self._bytes.acquire(size)

    @property
    def is_full(self) -> bool:
        """Whether it is as good as a new one."""
        return self.has(0) and self._packets.has_capacity(self._packets.max_rate)


class TooLong(Exception):
    """A packet that no broker takes."""


class Packets:
    """MQTT packets out of a stream of bytes."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The packets that are whole by now. Raises TooLong."""
        data, at = self._rest + data, 0
        while True:
            end = _end(data, at)
            if end is None or end > len(data):
                break
            yield data[at:end]
            at = end
        self._rest = data[at:]


def _end(data: bytes, at: int) -> int | None:
    """Where the packet at `at` ends; None as long as its length is not there."""
    size = shift = 0
    for place in range(at + 1, at + 5):
        if place >= len(data):
            return None
        size |= (data[place] & 0x7F) << shift
        shift += 7
        if data[place] < 0x80:
            if size > PACKET_MOST:
                raise TooLong
            return place + 1 + size
    raise TooLong
