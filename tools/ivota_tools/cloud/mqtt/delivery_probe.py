"""Probe whether the broker delivers messages: the cloud regularly sends one to itself.

A broker can accept a message and drop it: it may reserve topics with `$`, or its rules may not let
this user write there. MQTT 3.1.1 does not report this, and both devices and cloud look healthy.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable

log = logging.getLogger("ivota.cloud")

EVERY_S = 300.0
PATIENCE_S = 10.0  # without any message: many older ones may arrive first
PRODUCT = "ivota"
MISSED_MOST = 2  # checks in a row; a single message with QoS 0 may be lost
HARM_MOST = 2  # checks in a row after which the broker closes the connection
HARM_S = 3600.0  # seconds until the next check after that


class BrokerProbe:
    """The session's thread passes incoming messages, the report worker's thread the time.

    `name` identifies this cloud if several use one broker. `publish(topic, payload)` sends with
    QoS 0: with QoS 1, it would be repeated forever if the broker closes the connection.
    """

    def __init__(
        self,
        name: str,
        publish: Callable[[str, bytes], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # With a dot: some brokers (RabbitMQ) treat it like a slash, which the received topic
        # shows.
        tail = f"{PRODUCT}/{name}.check"
        self.report_topic, self.update_topic = f"$ota/report/{tail}", f"$ota/update/{tail}"
        self.problem: str | None = None
        self.dots_are_slashes: bool | None = None  # None: not seen yet
        self._publish, self._clock = publish, clock
        self._lock = threading.Lock()
        self._payload = b""
        self._open: set[str] = set()  # topics whose message has not arrived
        self._both = True
        self._online = False
        self._next = self._deadline = 0.0
        self._harm = self._missed = 0

    def connected(self, *, updates: bool) -> None:
        """Call after subscribing; with `updates`, also check the topic of the devices' pushes."""
        with self._lock:
            self._online, self._both = True, updates
            if self._harm < HARM_MOST:
                self._next = self._clock()

    def lost(self) -> None:
        with self._lock:
            self._online = False
            if self._open:
                self._harm += 1
                self._open.clear()
                if self._harm >= HARM_MOST:
                    self._next = self._clock() + HARM_S
                    self._say(
                        "it closes the connection when the cloud sends a message to "
                        f"{self.report_topic} or {self.update_topic}: its rules must let this "
                        "user read and write there"
                    )

    def heard(self, topic: str, payload: bytes) -> bool:
        """Return whether a message is one of the probe's own, which no other code needs."""
        with self._lock:
            if self._open:
                self._deadline = self._clock() + PATIENCE_S
            for own in (self.report_topic, self.update_topic):
                slashed = own.replace(".", "/")
                if topic not in (own, slashed):
                    continue
                if payload == self._payload and own in self._open:
                    self._open.remove(own)
                    self.dots_are_slashes = topic == slashed
                    if not self._open:
                        self._harm = self._missed = 0
                        self._well()
                return True
            return False

    def tick(self) -> None:
        """Send a message if it is due, and report missing ones."""
        send: list[str] = []
        with self._lock:
            now = self._clock()
            if self._open and now >= self._deadline:
                self._missed += 1
                self._next = now + (EVERY_S if self._missed >= MISSED_MOST else 0)
                if self._missed >= MISSED_MOST:
                    self._say(
                        f"it accepts messages to {' and '.join(sorted(self._open))} but does not "
                        "deliver them: either it drops topics that begin with $ (use "
                        "--topic-prefix), or its rules keep this user from reading or "
                        "writing there"
                    )
                self._open.clear()
            if self._online and not self._open and now >= self._next:
                self._payload = (
                    f'{{"type":"ivota_check","nonce":"{secrets.token_hex(8)}"}}'.encode()
                )
                send = [self.report_topic, *([self.update_topic] if self._both else [])]
                self._open = set(send)
                self._next, self._deadline = now + EVERY_S, now + PATIENCE_S
        for topic in send:
            self._publish(topic, self._payload)

    def _say(self, problem: str) -> None:
        if problem != self.problem:
            log.error("the MQTT broker loses messages: %s", problem)
        self.problem = problem

    def _well(self) -> None:
        if self.problem:
            log.info("the MQTT broker is delivering messages again")
        self.problem = None
