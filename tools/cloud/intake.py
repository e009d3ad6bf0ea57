"""Reports in, answers and pushes out: one thread, in batches, nothing acknowledged before stored.

The order for a batch is: commit, publish, acknowledge. Whoever kills us in between finds every
report in the database or, unacknowledged, with the broker, which delivers it again.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from . import protocol, rollout
from .database import Database, add, next_revision
from .models import Assignment, Device, Firmware, Push, Report
from .session import Message, MqttSession

log = logging.getLogger("ivota.cloud")

BATCH_MOST = 500
IDLE_S = 0.25  # how late the end of a back-off may be seen
BACKLOG_MOST = 20000  # beyond it QoS 0 messages (percents) are dropped; QoS 1 the broker bounds
RAW_MOST = 4096  # bytes kept of a message
JUNK_MOST = 1000  # messages kept of those that are not the protocol's
DEVICES_MOST = 100_000

RETAINED, STRAY = "retained", "stray"
JUNK = (protocol.UNKNOWN, protocol.GARBLED, RETAINED, STRAY)


@dataclass(frozen=True)
class Outgoing:
    """A message to publish once the transaction that made it is committed."""

    topic: str
    payload: bytes


class Intake:
    """`url_of(firmware)` makes a fresh pre-signed URL; `push_qos` is that of what we publish.

    `on_death(reason)` is called from its thread should that ever end by an error.
    """

    def __init__(
        self,
        database: Database,
        url_of: Callable[[Firmware], str],
        back_off: rollout.BackOff,
        push_qos: int,
        on_death: Callable[[str], None],
    ) -> None:
        self._on_death = on_death
        self._database = database
        self._url_of = url_of
        self._back_off = back_off
        self._push_qos = push_qos
        self._queue: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._dropped = 0
        self._stopping = False
        self._thread: threading.Thread | None = None

    def put(self, message: Message) -> None:
        """For the MQTT session's thread: never blocks, never fails."""
        if message.qos == 0 and self._queue.qsize() > BACKLOG_MOST:
            self._dropped += 1
        else:
            self._queue.put(message)

    def wake(self) -> None:
        """Pushes may be due now."""
        self._queue.put(None)

    def start(self, session: MqttSession) -> None:
        self._thread = threading.Thread(
            target=self._run, args=(session,), name="intake", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Finishes the batch at hand; what waits is not acknowledged and so comes again."""
        self._stopping = True
        self.wake()
        if self._thread:
            self._thread.join()

    def _run(self, session: MqttSession) -> None:
        try:
            self._work(session)
        except Exception as error:
            log.exception("taking in reports has ended")
            self._on_death(f"taking in reports has ended: {error!r}")

    def _work(self, session: MqttSession) -> None:
        while not self._stopping:
            batch = self._next_batch()
            while not self._stopping:
                try:
                    outgoing = self._process(batch, session.connected)
                    break
                except SQLAlchemyError:
                    # A full disk, a locked file: the reports stay with the broker meanwhile.
                    log.exception("the database refuses %d reports, trying again", len(batch))
                    time.sleep(1)
            else:
                return
            for message in outgoing:
                session.publish(message.topic, message.payload, self._push_qos)
            for taken in batch:
                session.acknowledge(taken)

    def _next_batch(self) -> list[Message]:
        batch: list[Message] = []
        timeout: float | None = IDLE_S
        try:
            while len(batch) < BATCH_MOST:
                message = self._queue.get(timeout=timeout) if timeout else self._queue.get_nowait()
                timeout = None
                if message is not None:
                    batch.append(message)
        except queue.Empty:
            pass
        return batch

    def _process(self, batch: list[Message], online: bool) -> list[Outgoing]:
        now = time.time()
        if not batch and not (online and self._anything_due(now)):
            return []
        with self._database.writing() as session:
            outgoing: list[Outgoing] = []
            for message in batch:
                outgoing += take_in(session, message, now, self._back_off)
            dropped, self._dropped = self._dropped, 0
            if dropped:
                add(session, "dropped", dropped)
            if online:
                outgoing += push_due(session, now, self._url_of)
            return outgoing

    def _anything_due(self, now: float) -> bool:
        with self._database.reading() as session:
            due = select(Assignment.id).where(_due(now)).limit(1)
            return session.scalar(due) is not None


def take_in(
    session: Session, message: Message, now: float, back_off: rollout.BackOff
) -> list[Outgoing]:
    """Stores one message, moves its device's assignment on, and returns what it is answered."""
    names = protocol.device_of(message.topic)
    report = protocol.read_report(message.payload)
    kind = report.kind
    device = None
    if message.retained:
        # The protocol retains nothing: this is somebody's replay, told again at each subscribing.
        kind = RETAINED
    elif names is None:
        kind = STRAY
    else:
        device = _device(session, *names, known_only=kind in JUNK)
        if device is None and kind not in JUNK:
            kind = STRAY
    add(session, kind)
    assignment = device.assignment if device else None
    session.add(_row(message, report, kind, device, assignment, now))
    if kind in JUNK:
        if device and kind == protocol.GARBLED:
            device.garbled += 1
        _prune_junk(session)
        return []
    assert device is not None and names is not None
    device.first_seen = device.first_seen or now
    device.last_seen = now
    device.revision = next_revision(session)
    if kind == protocol.REPORT_PROGRESS:
        if assignment:
            rollout.on_progress(assignment, report, now, back_off)
        return []
    assert report.version is not None
    device.version = report.version
    if assignment:
        rollout.on_version(assignment, report.version, now)
    topic = protocol.update_topic(*names)
    return [Outgoing(topic, protocol.version_answer(report.version))]


def push_due(session: Session, now: float, url_of: Callable[[Firmware], str]) -> list[Outgoing]:
    """The pushes that are due, marked as sent."""
    outgoing = []
    for assignment in session.scalars(select(Assignment).where(_due(now)).limit(BATCH_MOST)):
        firmware, device = assignment.firmware, assignment.device
        payload = protocol.update_firmware(
            firmware.version, url_of(firmware), firmware.size, firmware.md5
        )
        topic = protocol.update_topic(device.product_id, device.device_name)
        outgoing.append(Outgoing(topic, payload))
        rollout.on_pushed(assignment, now)
        session.add(Push(at=now, assignment_id=assignment.id))
        device.revision = next_revision(session)
        log.info("push %s to %s", firmware.version, device.name)
    return outgoing


def _due(now: float) -> ColumnElement[bool]:
    return Assignment.next_push_at <= now


def _device(
    session: Session, product_id: str, device_name: str, known_only: bool
) -> Device | None:
    found = session.scalar(
        select(Device).where(Device.product_id == product_id, Device.device_name == device_name)
    )
    if found or known_only:
        return found
    if (session.scalar(select(func.count()).select_from(Device)) or 0) >= DEVICES_MOST:
        log.warning("%d devices are known, no more are added", DEVICES_MOST)
        return None
    device = Device(product_id=product_id, device_name=device_name)
    session.add(device)
    session.flush()
    return device


def _row(
    message: Message,
    report: protocol.Report,
    kind: str,
    device: Device | None,
    assignment: Assignment | None,
    now: float,
) -> Report:
    return Report(
        at=now,
        device_id=device.id if device else None,
        assignment_id=assignment.id if assignment else None,
        topic=message.topic[:512].replace("\0", "?"),
        kind=kind,
        version=report.version,
        state=report.state,
        percent=report.percent,
        result_code=report.result_code,
        result_msg=report.result_msg,
        raw=message.payload[:RAW_MOST],
        raw_size=len(message.payload),
    )


def _prune_junk(session: Session) -> None:
    session.flush()
    oldest = session.scalar(
        select(Report.id).where(Report.kind.in_(JUNK)).order_by(Report.id.desc()).offset(JUNK_MOST)
    )
    if oldest is not None:
        session.execute(delete(Report).where(Report.kind.in_(JUNK), Report.id <= oldest))
