"""Log failed attempts by address, and delay the responses if there are many.

This slows guessing down without locking anyone out: several clients may share an address, and the
secrets here have 128 bits. Attempts are counted in memory, with a monotonic clock.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from ..network_addresses import network

log = logging.getLogger("ivota.cloud")

MOST = 20  # tries in a burst
PER_S = 1 / 6  # in the long run
WAIT_S = 5.0
KNOWN_MOST = 10_000  # addresses
NOTE_S = 60.0  # between two notes about one address
NOTES_MOST = 20  # in that time, about all addresses

Note = Callable[[str, int], None]


@dataclass
class _Bucket:
    level: float
    at: float
    unsaid: int = 0
    said_at: float = float("-inf")


class WrongTries:
    """`what` names the attempts in the log; `note(address, count)` is called once a minute.

    An IPv6 network of 64 bits counts as one address.
    """

    def __init__(self, what: str, note: Note, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._note, self._clock = what, note, clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._since, self._said = clock(), 0
        self.total = 0  # rejections since the start
        self._lock = threading.Lock()

    def wait_s(self, address: str) -> float:
        """Return the delay of the next rejection. Successful attempts are never delayed."""
        with self._lock:
            bucket = self._buckets.get(network(address))
            if bucket is None or self._level(bucket) + 1 <= MOST:
                return 0.0
            return WAIT_S

    def wrong(self, address: str) -> None:
        """Count a rejection."""
        where, now = network(address), self._clock()
        with self._lock:
            bucket = self._buckets.setdefault(where, _Bucket(0.0, now))
            self._buckets.move_to_end(where)
            if len(self._buckets) > KNOWN_MOST:
                self._buckets.popitem(last=False)
            bucket.level, bucket.at = min(self._level(bucket) + 1, MOST), now
            bucket.unsaid += 1
            self.total += 1
            if now - self._since >= NOTE_S:
                self._since, self._said = now, 0
            # Also limit the log lines of a client with many addresses.
            if now - bucket.said_at < NOTE_S or self._said >= NOTES_MOST:
                return
            self._said += 1
            count, bucket.unsaid, bucket.said_at = bucket.unsaid, 0, now
        log.warning("%s from %s rejected (%d since last logged)", self._what, where, count)
        self._note(where, count)

    def _level(self, bucket: _Bucket) -> float:
        return max(bucket.level - (self._clock() - bucket.at) * PER_S, 0)
