"""Whether the broker delivers what it takes: the cloud sends itself a message now and then.

A broker may take a message and drop it: it keeps topics with `$` to itself, or its rules keep
this user from writing there. Nothing in MQTT 3.1.1 says so, and devices and cloud look well.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable

log = logging.getLogger("ivota.cloud")

EVERY_S = 300.0
PATIENCE_S = 10.0  # without any message at all: older ones may come first, as many as there are
PRODUCT = "ivota"
MISSED_MOST = 2  # checks in a row; a message with QoS 0 may be lost for once
HARM_MOST = 2  # checks in a row that the broker answers by closing the connection
HARM_S = 3600.0  # then it is left alone for so long


class BrokerCheck:
    """Fed by the session's thread with what comes in, and by the intake's with the time.

    `name` tells this cloud from others at the same broker. `publish(topic, payload)` sends with
    QoS 0: another message would be sent again and again to a broker that closes the connection.
    """

    def __init__(
        self,
        name: str,
        publish: Callable[[str, bytes], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # With a dot: some brokers (RabbitMQ) take it for a slash, which the answer's topic shows.
        tail = f"{PRODUCT}/{name}.check"
        self.report_topic, self.update_topic = f"$ota/report/{tail}", f"$ota/update/{tail}"
        self.problem: str | None = None
        self.dots_are_slashes: bool | None = None  # None: not seen yet
        self._publish, self._clock = publish, clock
        self._lock = threading.Lock()
        self._payload = b""
        self._open: set[str] = set()  # topics whose message has not come back
        self._both = True
        self._online = False
        self._next = self._deadline = 0.0
        self._harm = self._missed = 0

    def connected(self, *, updates: bool) -> None:
        """Subscribed; `updates`: also to the topic beside the devices' own."""
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
        """Whether this message is one of its own, which nobody else needs to see."""
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
        """Sends where it is due, and says so where nothing has come back."""
        send: list[str] = []
        with self._lock:
            now = self._clock()
            if self._open and now >= self._deadline:
                self._missed += 1
                self._next = now + (EVERY_S if self._missed >= MISSED_MOST else 0)
                if self._missed >= MISSED_MOST:
                    self._say(
                        f"it takes messages to {' and '.join(sorted(self._open))} but does not "
                        "deliver them: it drops topics that begin with $ (choose another "
                        "beginning with --topic-prefix), or its rules keep this user from "
                        "reading or writing there"
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
            log.info("the MQTT broker delivers messages again")
        self.problem = None
