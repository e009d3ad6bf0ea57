"""Probe whether RabbitMQ has a route from the devices' topics to the queues of reports.

Somebody may have removed a binding or a queue; the devices would be acknowledged all the same, and
their reports dropped. RabbitMQ returns a message that has no route, so the cloud sends one, and
creates again what is missing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

log = logging.getLogger("ivota.cloud")

EVERY_S = 60.0
PRODUCT = "ivota"


class RouteProbe:
    """Used by the session's thread alone, except for `problem`.

    `name` identifies the process. It has what the report worker needs of `BrokerProbe`.
    """

    dots_are_slashes = True  # RabbitMQ does not distinguish the two in topics
    payload = b'{"type":"ivota_check"}'

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.topic = f"$ota/report/{PRODUCT}/check/{name}"
        self.problem: str | None = None
        self._clock = clock
        self._next = 0.0

    @property
    def due(self) -> bool:
        return self._clock() >= self._next

    def succeeded(self) -> None:
        self._next = self._clock() + EVERY_S
        if self.problem:
            log.info("RabbitMQ is routing reports again")
        self.problem = None

    def failed(self) -> None:
        self._next = self._clock() + EVERY_S
        if self.problem is None:
            self.problem = (
                "it had no route from the devices' topics to the cloud's queues, and dropped "
                "reports; the cloud has created the route again"
            )
            log.error("RabbitMQ lost reports: %s", self.problem)

    def is_probe(self, topic: str) -> bool:
        """Return whether a message is the probe of any process, which nobody needs."""
        return topic.startswith(f"$ota/report/{PRODUCT}/check/")

    def tick(self) -> None:
        """Do nothing: the session's thread sends."""
