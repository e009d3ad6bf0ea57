"""Detect pushes whose file nobody requests, for example because --public-url is wrong.

A device that cannot reach the cloud's HTTP port reports nothing for minutes. The cloud knows
sooner, because it serves the file itself.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sqlalchemy import ColumnExpressionArgument, func, or_, select
from sqlalchemy.orm import Session, joinedload

from ..store import change_numbers, device_lock
from ..store.models import MQTT, Assignment, Device, Firmware
from . import assignment_states
from .assignment import touch

log = logging.getLogger("ivota.cloud")

WAIT_S = 15.0  # after a push
SLACK_S = 10.0  # a request this long before the push counts: not every request is noted
MOST = 500  # devices in a transaction


def _due(now: float) -> tuple[ColumnExpressionArgument[bool], ...]:
    sent = func.coalesce(Assignment.patch_id, Assignment.firmware_id)
    asked = select(Firmware.asked_at).where(Firmware.id == sent).scalar_subquery()
    return (
        Assignment.current,
        Assignment.state.in_((assignment_states.PUSHED, assignment_states.DOWNLOADING)),
        Assignment.unasked.is_(False),
        Assignment.device.has(Device.transport == MQTT),
        func.coalesce(Assignment.percent, 0) == 0,
        Assignment.started_at <= now - WAIT_S,
        or_(asked.is_(None), asked < Assignment.started_at - SLACK_S),
    )


def anything_to_do(session: Session, now: float) -> bool:
    return any(
        session.scalar(select(Assignment.id).where(*conditions).limit(1)) is not None
        for conditions in (_due(now), _asked_since())
    )


def _asked_since() -> tuple[ColumnExpressionArgument[bool], ...]:
    sent = func.coalesce(Assignment.patch_id, Assignment.firmware_id)
    asked = select(Firmware.asked_at).where(Firmware.id == sent).scalar_subquery()
    return Assignment.current, Assignment.unasked, asked >= Assignment.started_at - SLACK_S


def mark(session: Session, now: float) -> None:
    """Mark the devices whose file nobody has requested; clear the marks of the others."""
    _set(session, False, *_asked_since())
    found = _set(session, True, *_due(now))
    if found:
        log.warning(
            "no device has requested %s within %.0f s of the push to %d device%s: check "
            "--public-url", found[0].firmware.version, WAIT_S, len(found),
            "" if len(found) == 1 else "s",
        )  # fmt: skip


def _set(
    session: Session, unasked: bool, *which: ColumnExpressionArgument[bool]
) -> Sequence[Assignment]:
    query = select(Assignment).where(*which)
    query = query.options(joinedload(Assignment.device).lazyload(Device.tags))
    found = session.scalars(device_lock.of_attempts(session, query, MOST)).all()
    change_numbers.reserve(session, len(found))
    for assignment in found:
        assignment.unasked = unasked
        touch(session, assignment.device)
    session.flush()
    return found
