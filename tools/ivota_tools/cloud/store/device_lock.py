"""Lock devices on PostgreSQL, where several processes store reports at once.

A transaction that changes a device's attempt locks the device first, and reads both afterwards, so
two transactions never decide from the same old state. A transaction locks in the order of the ids,
or skips devices that another one has locked, so that no two wait for each other. On SQLite, which
has one writer at a time, these functions do nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session

from .models import Assignment, Device

_LOCKED = "locked devices"  # their ids, in a session's info: a session has one transaction


def is_shared(session: Session) -> bool:
    """Return whether other transactions write at the same time."""
    return session.get_bind().dialect.name == "postgresql"


def lock(
    session: Session, *which: ColumnElement[bool], wait: bool = True, delete: bool = False
) -> Sequence[int]:
    """Lock the devices that meet the conditions until the transaction ends; return their ids.

    Without `wait`, devices that another transaction has locked are left out. With `delete`, rows
    that refer to the device wait, too.
    """
    query = select(Device.id).where(*which).order_by(Device.id)
    query = query.with_for_update(key_share=not delete, skip_locked=not wait)
    locked = session.scalars(query).all()
    session.info.setdefault(_LOCKED, set()).update(locked)
    return locked


def is_locked(session: Session, number: int) -> bool:
    """Return whether nobody else can change this device before the transaction ends."""
    return not is_shared(session) or number in session.info.get(_LOCKED, ())


def lock_ids(session: Session, ids: Collection[int]) -> None:
    """Wait for these devices and lock them."""
    if is_shared(session) and ids:
        lock(session, Device.id.in_(ids))


def hold(session: Session, device: Device) -> None:
    """Lock a device that has been read, and expire the values that were read of it and its
    attempt.
    """
    if not is_shared(session):
        return
    session.flush()
    lock(session, Device.id == device.id)
    for attempt in session.identity_map.values():
        if isinstance(attempt, Assignment) and attempt.device_id == device.id:
            session.expire(attempt)
    session.expire(device)


def of_attempts(session: Session, query: Select[Any], most: int) -> Select[Any]:
    """Lock the devices of up to `most` attempts, except those that are locked already.

    Returns the query of those attempts, to be read now.
    """
    if not is_shared(session):
        return query.limit(most)
    found = query.with_only_columns(Assignment.device_id).limit(most)
    ids = lock(session, Device.id.in_(set(session.scalars(found))), wait=False)
    fresh = query.where(Assignment.device_id.in_(ids)).limit(most)
    return fresh.execution_options(populate_existing=True)
