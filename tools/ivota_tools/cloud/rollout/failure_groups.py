"""Group the failures of a firmware in the fleet by their message."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..store.models import Assignment, Firmware
from .version_order import key

MOST = 20  # groups


class FailureGroup(NamedTuple):
    """A failure, the number of its devices, and the oldest version that had it."""

    code: int | None
    message: str
    devices: int
    since: str
    last_at: float


def groups(session: Session, firmware: Firmware) -> list[FailureGroup]:
    """Return the most frequent failures of a firmware first."""
    same = (Assignment.failure_code, Assignment.failure_msg)
    rows = session.execute(
        select(*same, func.count(Assignment.device_id.distinct()), func.max(Assignment.failed_at))
        .where(Assignment.firmware_id == firmware.id, Assignment.failed_at.is_not(None))
        .group_by(*same)
        .order_by(func.count(Assignment.device_id.distinct()).desc(), func.min(Assignment.id))
        .limit(MOST)
    ).tuples()
    found = []
    for code, message, devices, last_at in rows.all():
        versions = session.scalars(
            select(Firmware.version)
            .join(Assignment, Assignment.firmware_id == Firmware.id)
            .where(
                Assignment.failure_code.is_not_distinct_from(code),
                Assignment.failure_msg.is_not_distinct_from(message),
                Firmware.application.is_not_distinct_from(firmware.application),
            )
            .distinct()
        ).all()
        since = min(versions, key=key)
        found.append(FailureGroup(code, message or "", devices, since, last_at or 0.0))
    return found
