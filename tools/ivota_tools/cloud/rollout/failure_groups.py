"""Group the failures of a firmware in the fleet by their message."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ...common.version_order import key
from ..store.models import Assignment, Failure, Firmware

MOST = 20  # groups


class FailureGroup(NamedTuple):
    """A failure, the number of its devices, and the oldest version that had it."""

    code: int | None
    message: str
    devices: int
    since: str
    last_at: float


def groups(session: Session, firmware: Firmware) -> list[FailureGroup]:
    """Return the failures of a firmware, most frequent first."""
    same = (Failure.code, Failure.message)
    rows = session.execute(
        select(*same, func.count(Assignment.device_id.distinct()), func.max(Failure.at))
        .join(Assignment, Failure.assignment_id == Assignment.id)
        .where(Assignment.firmware_id == firmware.id)
        .group_by(*same)
        .order_by(func.count(Assignment.device_id.distinct()).desc(), func.min(Assignment.id))
        .limit(MOST)
    ).tuples()
    found = []
    since = _since(session, firmware)
    for code, message, devices, last_at in rows.all():
        oldest = since.get((code, message), firmware.version)
        found.append(FailureGroup(code, message or "", devices, oldest, last_at or 0.0))
    return found


def _since(session: Session, firmware: Firmware) -> dict[tuple[int | None, str | None], str]:
    """Return the oldest version of the application that had a failure, for each failure."""
    each = (Failure.code, Failure.message, Firmware.version)
    rows = session.execute(
        select(*each)
        .join(Assignment, Failure.assignment_id == Assignment.id)
        .join(Firmware, Assignment.firmware_id == Firmware.id)
        .where(Firmware.application.is_not_distinct_from(firmware.application))
        .distinct()
    ).tuples()
    found: dict[tuple[int | None, str | None], str] = {}
    for code, message, version in rows:
        known = found.get((code, message), version)
        found[code, message] = min(known, version, key=key)
    return found
