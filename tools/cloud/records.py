"""What a message from a device changes: inside one transaction."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session, joinedload

from . import protocol, rollout
from .database import add, next_revision
from .models import Assignment, Device, Report
from .session import Message

log = logging.getLogger("ivota.cloud")

RAW_MOST = 4096  # bytes kept of a message
JUNK_MOST = 1000  # messages kept of those that are not the protocol's
DEVICES_MOST = 100_000

RETAINED, STRAY = "retained", "stray"
JUNK = (protocol.UNKNOWN, protocol.GARBLED, RETAINED, STRAY)

WITH_TARGET = (joinedload(Device.assignment).joinedload(Assignment.firmware),)


@dataclass(frozen=True)
class Outgoing:
    """A message to publish once the transaction that made it is committed."""

    topic: str
    payload: bytes


def take_in(
    session: Session, messages: Sequence[Message], now: float, back_off: rollout.BackOff
) -> list[Outgoing]:
    """Stores messages, moves their devices' assignments on, and returns what they are answered."""
    # Without it, every query in the loop would first write what the last message has changed.
    with session.no_autoflush:
        batch = _Batch(session, messages, now, back_off)
        for message in messages:
            batch.take_in(message)
        batch.store()
    return batch.answers


class _Batch:
    """Messages on their way into one transaction; what they have in common is looked up once."""

    def __init__(
        self,
        session: Session,
        messages: Sequence[Message],
        now: float,
        back_off: rollout.BackOff,
    ) -> None:
        self.answers: list[Outgoing] = []
        self._session, self._now, self._back_off = session, now, back_off
        self._rows: list[dict[str, Any]] = []
        self._room: int | None = None
        names = {pair[1] for m in messages if (pair := protocol.device_of(m.topic))}
        query = select(Device).where(Device.device_name.in_(names)).options(*WITH_TARGET)
        self._devices = {(d.product_id, d.device_name): d for d in session.scalars(query)}

    def take_in(self, message: Message) -> None:
        report = protocol.read_report(message.payload)
        names = protocol.device_of(message.topic)
        device = None
        kind = report.kind
        if message.retained:
            # The protocol retains nothing: a replay, told again whenever we subscribe.
            kind = RETAINED
        elif names is None:
            kind = STRAY
        else:
            device = self._devices.get(names)
            if device is None and kind not in JUNK:
                device = self._new_device(*names)
                kind = kind if device else STRAY
        add(self._session, kind)
        self._rows.append(_row(message, report, kind, device, self._now))
        if device is None:
            return
        if kind in JUNK:
            device.garbled += kind == protocol.GARBLED
            return
        device.first_seen = device.first_seen or self._now
        device.last_seen = self._now
        device.revision = next_revision(self._session)
        if kind == protocol.REPORT_VERSION:
            self._version(device, report.version or "")
        elif device.assignment:
            rollout.on_progress(device.assignment, report, self._now, self._back_off)

    def store(self) -> None:
        if not self._rows:
            return
        self._session.execute(insert(Report), self._rows)
        if any(row["kind"] in JUNK for row in self._rows):
            _prune_junk(self._session)

    def _version(self, device: Device, version: str) -> None:
        device.version = version
        if device.assignment:
            rollout.on_version(device.assignment, version, self._now)
        topic = protocol.update_topic(device.product_id, device.device_name)
        self.answers.append(Outgoing(topic, protocol.version_answer(version)))

    def _new_device(self, product_id: str, device_name: str) -> Device | None:
        if self._room is None:
            known = self._session.scalar(select(func.count()).select_from(Device)) or 0
            self._room = DEVICES_MOST - known
        if self._room <= 0:
            log.warning("%d devices are known, no more are added", DEVICES_MOST)
            return None
        self._room -= 1
        device = Device(product_id=product_id, device_name=device_name, garbled=0, tags=[])
        self._session.add(device)
        self._session.flush()
        self._devices[product_id, device_name] = device
        return device


def _row(
    message: Message, report: protocol.Report, kind: str, device: Device | None, now: float
) -> dict[str, Any]:
    return {
        "at": now,
        "device_id": device.id if device else None,
        "assignment_id": device.assignment.id if device and device.assignment else None,
        "topic": message.topic[:512].replace("\0", "?"),
        "kind": kind,
        "version": report.version,
        "state": report.state,
        "percent": report.percent,
        "result_code": report.result_code,
        "result_msg": report.result_msg,
        "raw": message.payload[:RAW_MOST],
        "raw_size": len(message.payload),
    }


def _prune_junk(session: Session) -> None:
    oldest = session.scalar(
        select(Report.id).where(Report.kind.in_(JUNK)).order_by(Report.id.desc()).offset(JUNK_MOST)
    )
    if oldest is not None:
        session.execute(delete(Report).where(Report.kind.in_(JUNK), Report.id <= oldest))
