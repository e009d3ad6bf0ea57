"""Sort devices for a list: those that an operator should look at come first."""

from __future__ import annotations

import enum
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from ..api_client import Json
from ..common.device_silence import silent_s
from ..common.version_order import key

ACTIVE = ("pushed", "downloading", "burning")
OPEN = (*ACTIVE, "waiting", "current")


class Sort(str, enum.Enum):
    """The order of a list of devices."""

    ATTENTION = "attention"
    NAME = "name"
    SEEN = "seen"
    VERSION = "version"


# The parts of a list sorted by attention, with their names in the summary.
PARTS = ("failed", "stalled", "to be retried", "silent for an hour", "never reported", "updating",
         "waiting", "up to date or idle")  # fmt: skip


def part(device: Json) -> int:
    """Return the part of the list that a device belongs to, an index of PARTS."""
    words = {"failed": 0, "stalled": 1, "retry": 2}
    if device["status"] != "accepted":
        return len(PARTS) - 1
    if device["attention"] in words:
        return words[device["attention"]]
    if device["last_seen"] is None:
        return 4
    # An older cloud sends no interval.
    if time.time() - device["last_seen"] > silent_s(device.get("report_interval_s")):
        return 3
    if device["state"] in ACTIVE:
        return 5
    return 6 if device["state"] in OPEN else 7


def order(sort: Sort) -> Callable[[Json], Any]:
    """Return the key to sort by: the most urgent, the longest silent or the oldest first."""
    if sort is Sort.SEEN:
        return lambda device: (device["last_seen"] or 0, device["device"])
    if sort is Sort.VERSION:
        return lambda device: (key(device["version"] or ""), device["device"])
    if sort is Sort.NAME:
        return lambda device: str(device["device"])
    return lambda device: (part(device), device["device"])


def parts(devices: list[Json], sort: Sort) -> list[int] | None:
    """Return the part of each device, for lines between them; None in another order."""
    return [part(device) for device in devices] if sort is Sort.ATTENTION else None


def summary(devices: list[Json]) -> str:
    """Count the devices of each part in one line, because a long list has scrolled away."""
    counts = Counter(part(device) for device in devices)
    words = [f"{counts[number]:,} {PARTS[number]}" for number in sorted(counts)]
    if counts.keys() <= {len(PARTS) - 1}:
        words = []
    total = f"{len(devices):,} device{'' if len(devices) == 1 else 's'}"
    return f"{total}: {', '.join(words)}" if words else total
