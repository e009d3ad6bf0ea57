"""Process reports and send responses and pushes, in batches on one thread.

The order for a batch is: commit, publish, acknowledge. If the process is killed in between, every
report is in the database, or the broker has it unacknowledged and delivers it again.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from ..health_probes import database_problem
from ..metrics.activity_counters import Measurements
from ..rollout.assignment_states import BackOff
from ..rollout.group_report_intervals import ReportIntervals
from ..rollout.push_sender import UrlOf, anything_due, push_due
from ..rollout.timed_work import TimedWork
from ..store import ambiguous_device_names, event_counters
from ..store.database import Database
from .cloud_session import Listener, Message
from .report_ingestion import Outgoing, take_in

log = logging.getLogger("ivota.cloud")

BATCH_MOST = 500
IDLE_S = 0.25  # maximum delay before the end of a back-off is noticed
MORE_S = 0.05  # the same during the steps of a campaign, so that others can write in between
RETRY_S = 1.0  # after a database error
STUCK_S = 5.0  # maximum duration of a batch
# Beyond these limits, QoS 0 messages (progress) are dropped; for QoS 1, the broker limits the
# unacknowledged messages.
BACKLOG_MOST, BACKLOG_BYTES = 20000, 16 * 1024 * 1024
FULL = 900  # unacknowledged messages with QoS 1, of the 1,000 that the broker sends


class Check(Protocol):
    """Whether the broker loses messages, and how it treats dots in topics."""

    problem: str | None

    @property
    def dots_are_slashes(self) -> bool | None:
        """Whether the broker treats dots in topics as slashes; None means not known yet."""

    def tick(self) -> None:
        """Send a test message if it is due."""


class Session(Protocol):
    """A connection to the fleet's broker: `MqttSession` or `ReportSession`."""

    listener: Listener | None

    @property
    def check(self) -> Check: ...

    @property
    def connected(self) -> bool: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool = False) -> None: ...

    def acknowledge(self, message: Message) -> None: ...


class Intake:
    """`url_of` is that of `push_due`; `push_qos` is the QoS of pushes.

    While `timed` is None, another process sends the pushes and does the time-driven work: several
    processes can store reports at once, best of different devices. With `accept_all`, new devices
    are accepted; otherwise they are pending.

    `on_death(reason)` is called from the worker's thread if it ends with an error.
    """

    def __init__(
        self,
        database: Database,
        url_of: UrlOf,
        back_off: BackOff,
        push_qos: int,
        on_death: Callable[[str], None],
        timed: TimedWork | None = None,
        accept_all: bool = True,
        measurements: Measurements | None = None,
    ) -> None:
        self._on_death = on_death
        self._database = database
        self._url_of = url_of
        self._back_off = back_off
        self._push_qos = push_qos
        self.timed = timed
        self._accept_all = accept_all
        self._intervals = ReportIntervals()
        self._measurements = measurements or Measurements()
        self._queue: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._dropped = 0
        self._bytes = self._unstored = 0  # bytes in the queue
        self._count = threading.Lock()
        self._dots_are_slashes: bool | None = None  # the value in the database; None: unknown
        self._stop = threading.Event()
        self._since: float | None = None  # start of the current work
        self._trouble: str | None = None
        self._trouble_since = 0.0
        self._thread: threading.Thread | None = None

    def put(self, message: Message) -> None:
        """Queue a message, for the MQTT session's thread: never blocks, never fails."""
        with self._count:
            if message.qos == 0 and (
                self._queue.qsize() > BACKLOG_MOST or self._bytes > BACKLOG_BYTES
            ):
                self._dropped += 1
                return
            self._bytes += len(message.payload)
            self._unstored += message.qos > 0
        self._queue.put(message)

    @property
    def is_full(self) -> bool:
        """Return whether the queue is too long to accept more for now."""
        return self._unstored > FULL

    @property
    def queued(self) -> int:
        return self._queue.qsize()

    @property
    def queued_bytes(self) -> int:
        return self._bytes

    @property
    def problem(self) -> str | None:
        """Return why reports are not being stored, or None if they are."""
        since = self._since
        if self._trouble or since is None or time.monotonic() - since < STUCK_S:
            return self._trouble
        return f"reports have been waiting for the database for {time.monotonic() - since:.0f} s"

    def _failed(self, problem: str) -> None:
        """Log a problem once, until it ends."""
        if self._trouble is None:
            self._trouble_since = time.monotonic()
        if problem != self._trouble:
            log.error("%s; the broker keeps the reports until a retry succeeds", problem)
        self._trouble = problem

    def _worked(self) -> None:
        if self._trouble:
            seconds = time.monotonic() - self._trouble_since
            log.warning("the database is storing reports again, after %.0f s", seconds)
        self._trouble = None

    def wake(self) -> None:
        """Wake the worker: pushes may be due now."""
        self._queue.put(None)

    def start(self, session: Session) -> None:
        self._thread = threading.Thread(
            target=self._run, args=(session,), name="intake", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Finish the current batch; queued messages are unacknowledged and will be redelivered."""
        self._stop.set()
        self.wake()
        if self._thread:
            self._thread.join()

    def _run(self, session: Session) -> None:
        try:
            self._work(session)
        except Exception as error:
            log.exception("stopped processing reports")
            self._on_death(f"stopped processing reports: {error!r}")

    def _work(self, session: Session) -> None:
        while not self._stop.is_set():
            self._since = None
            session.check.tick()
            batch = self._next_batch()
            self._since = time.monotonic()
            while not self._stop.is_set():
                try:
                    outgoing = self._process(batch, session.connected, session.check)
                    break
                except SQLAlchemyError as error:
                    # A full disk or a locked file: meanwhile the broker keeps the reports.
                    self._failed(database_problem(error))
                    self._stop.wait(RETRY_S)
                    if not batch:
                        outgoing = []
                        break
            else:
                return
            for message in outgoing:
                session.publish(message.topic, message.payload, message.qos)
            for taken in batch:
                session.acknowledge(taken)
            with self._count:
                self._bytes -= sum(len(taken.payload) for taken in batch)
                self._unstored -= sum(taken.qos > 0 for taken in batch)

    def _next_batch(self) -> list[Message]:
        batch: list[Message] = []
        timed = self.timed
        timeout: float | None = MORE_S if timed and timed.more else IDLE_S
        try:
            while len(batch) < BATCH_MOST:
                message = self._queue.get(timeout=timeout) if timeout else self._queue.get_nowait()
                timeout = None
                if message is not None:
                    batch.append(message)
        except queue.Empty:
            pass
        return batch

    def _process(self, batch: list[Message], online: bool, check: Check) -> list[Outgoing]:
        now = time.time()
        timed = self.timed  # another process may lead from any moment on
        if timed and timed.step(now):
            self._worked()
        dots = check.dots_are_slashes
        seen = dots != self._dots_are_slashes
        pushing = online and timed is not None
        if not batch and not seen and not (pushing and self._anything_due(now)):
            return []
        kinds: Counter[str] = Counter()
        pushes = 0
        began = time.monotonic()
        with self._database.storing() as session:
            if dots is not None and seen:
                ambiguous_device_names.keep_dots_are_slashes(session, dots)
                self._dots_are_slashes = dots
            outgoing = take_in(
                session,
                batch,
                now,
                self._back_off,
                self._accept_all,
                dots_are_slashes=bool(dots),
                kinds=kinds,
                intervals=self._intervals.of,
            )
            dropped, self._dropped = self._dropped, 0
            event_counters.count(session, {"dropped": dropped})
            if pushing:
                due = push_due(session, now, self._url_of, self._push_qos)
                outgoing, pushes = outgoing + due, len(due)
        self._measurements.batch(time.monotonic() - began, kinds, dropped, pushes)
        self._worked()
        return outgoing

    def _anything_due(self, now: float) -> bool:
        with self._database.reading() as session:
            return anything_due(session, now)
