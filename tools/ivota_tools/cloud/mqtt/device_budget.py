"""Limit the rate and the bursts of packets and bytes from a device.

A device that reports every few seconds never reaches the limit. Beyond the limit, messages with
QoS 0 are dropped, as MQTT allows, and all others are delayed: acknowledged messages are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aiolimiter import AsyncLimiter

PACKET_MOST = 70_000  # bytes of an MQTT packet: the broker takes payloads of 65,536


@dataclass(frozen=True)
class Budget:
    """The limits of each device: the sustained rate and the burst."""

    packets_per_s: float = 10.0
    packets_burst: int = 600
    bytes_per_s: float = 64 * 1024.0
    bytes_burst: int = 2 * 1024 * 1024


class DeviceBudget:
    """The remaining budget of a device across its connections, for use in one event loop."""

    def __init__(self, budget: Budget) -> None:
        self._packets = AsyncLimiter(
            budget.packets_burst, budget.packets_burst / budget.packets_per_s
        )
        self._bytes = AsyncLimiter(budget.bytes_burst, budget.bytes_burst / budget.bytes_per_s)

    def has(self, size: int) -> bool:
        """Return whether a packet of this size may pass now."""
        return self._packets.has_capacity(1) and self._bytes.has_capacity(size)

    async def take(self, size: int) -> None:
        """Wait until a packet of this size may pass."""
        await self._packets.acquire(1)
        await self._bytes.acquire(size)

    @property
    def is_full(self) -> bool:
        """Return whether the budget is unused."""
        return self.has(0) and self._packets.has_capacity(self._packets.max_rate)


class TooLong(Exception):
    """A packet that is larger than any broker accepts."""


class Packets:
    """Split a stream of bytes into MQTT packets."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Return the packets that are complete now. Raises TooLong."""
        data, at = self._rest + data, 0
        while True:
            end = _end(data, at)
            if end is None or end > len(data):
                break
            yield data[at:end]
            at = end
        self._rest = data[at:]


def _end(data: bytes, at: int) -> int | None:
    """Return the end of the packet at `at`, or None if its length is not known yet."""
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
