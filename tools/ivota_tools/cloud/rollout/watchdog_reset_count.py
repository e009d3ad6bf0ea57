"""Count the resets by the watchdog that a board has reported, other than those in a trial."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..mqtt import messages
from ..store.models import Device, Report


def of(session: Session, device: Device) -> tuple[int, float | None]:
    """Return how often the watchdog has reset the board, and when the last report of it came."""
    query = select(func.count(), func.max(Report.at)).where(
        Report.device_id == device.id,
        Report.kind == messages.REPORT_NOTICE,
        Report.result_msg == messages.WATCHDOG,
    )
    count, last = session.execute(query).tuples().one()
    return count, last
