"""Manage the status of devices: accepted, pending or retired.

An unknown device becomes pending, unless a rule accepts it: the cloud responds to it but sends no
firmware. The number of pending devices is limited; the least recently seen are removed first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from ..rollout import campaign_counts
from . import device_lock
from .database import Database, next_revision, revoke
from .models import (
    Assignment,
    Change,
    Controller,
    DdiToken,
    Device,
    DeviceTag,
    Failure,
    Member,
    Push,
    Report,
)

ACCEPTED, PENDING, RETIRED = "accepted", "pending", "retired"
STATUSES = (ACCEPTED, PENDING, RETIRED)
PENDING_MOST = 10_000
ROWS_MOST = 1000  # rows per table that one transaction deletes
BREATH_S = 0.05  # pause between two of them, because storing reports needs the same lock


class StatusError(ValueError):
    """The device's status does not allow this action."""


def expect_accepted(device: Device) -> None:
    """Raise StatusError unless the device is accepted."""
    if device.status == PENDING:
        raise StatusError(f"{device.name} is pending: accept it first")
    if device.status == RETIRED:
        raise StatusError(f"{device.name} is retired: accept it again first")


def accept(session: Session, device: Device) -> None:
    device.status = ACCEPTED
    device.revision = next_revision(session)


def retire(session: Session, device: Device) -> None:
    """Retire a device: it receives no firmware and cannot sign in, but keeps its history. The
    caller must cancel its update.
    """
    device.status = RETIRED
    device.revision = next_revision(session)
    revoke(session)


def pending(session: Session) -> int:
    found = select(func.count()).select_from(Device).where(Device.status == PENDING)
    return session.scalar(found) or 0


def make_room(session: Session, most: int = PENDING_MOST) -> int:
    """Remove the least recently seen pending devices beyond `most`; return their number."""
    over = pending(session) - most
    if over <= 0:
        return 0
    oldest = select(Device.id).where(Device.status == PENDING)
    oldest = oldest.order_by(func.coalesce(Device.last_seen, 0), Device.id)
    ids = session.scalars(oldest.limit(over)).all()
    if device_lock.is_shared(session):  # others may be removing some, or storing their reports
        still = Device.id.in_(ids), Device.status == PENDING
        ids = device_lock.lock(session, *still, wait=False, delete=True)
    for at in range(0, len(ids), ROWS_MOST):
        _forget(session, ids[at : at + ROWS_MOST])
    return len(ids)


def remove(database: Database, ids: Sequence[int]) -> int:
    """Delete retired devices and their history, in several transactions; return their number.

    A device that is accepted again before the last transaction is kept.
    """
    while True:
        with database.writing() as session:
            retired = Device.id.in_(ids), Device.status == RETIRED
            still = device_lock.lock(session, *retired, delete=True)
            reports = select(Report.id).where(Report.device_id.in_(still)).limit(ROWS_MOST)
            found = session.scalars(reports).all()
            session.execute(delete(Report).where(Report.id.in_(found)))
            if len(found) < ROWS_MOST:
                _forget(session, still)
                revoke(session)
                next_revision(session)
                return len(still)
        time.sleep(BREATH_S)


def _forget(session: Session, ids: Sequence[int]) -> None:
    attempts = select(Assignment.id).where(Assignment.device_id.in_(ids))
    for events in (Push, Failure):
        session.execute(delete(events).where(events.assignment_id.in_(attempts)))
    campaign_counts.note_rows(session, Member.device_id.in_(ids), gone=True)
    # What refers to attempts comes before them, because of foreign keys.
    tables: tuple[Any, ...] = (
        Report, Member, Controller, Assignment, Change, DeviceTag, DdiToken,
    )  # fmt: skip
    for table in tables:
        session.execute(delete(table).where(table.device_id.in_(ids)))
    session.execute(delete(Device).where(Device.id.in_(ids)))
