"""What a message from a device changes, and which pushes are due: inside one transaction."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from . import protocol, rollout
from .database import add, next_revision
from .models import Assignment, Device, Firmware, Push, Report
from .session import Message

log = logging.getLogger("ivota.cloud")

PUSHES_MOST = 500  # in one transaction
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
    for assignment in session.scalars(select(Assignment).where(_due(now)).limit(PUSHES_MOST)):
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


def anything_due(session: Session, now: float) -> bool:
    return session.scalar(select(Assignment.id).where(_due(now)).limit(1)) is not None


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
