"""What is kept no longer, a few rows at a time, inside one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from .models import Assignment, Audit, Change, Member, Push, Report

ROWS_MOST = 1000  # of each table at a time, so that nobody waits for it


@dataclass(frozen=True)
class Keep:
    """For how many seconds; None for ever.

    reports_s   reports, pushes, changes of versions, and attempts that another took the place of
    audit_s     the audit log
    """

    reports_s: float | None = None
    audit_s: float | None = None

    def __bool__(self) -> bool:
        return self.reports_s is not None or self.audit_s is not None


def forget(session: Session, keep: Keep, now: float) -> bool:
    """Deletes the oldest rows; True where there are more of them.

    What came of an attempt stays as long as a campaign counts it.
    """
    more = False
    if keep.reports_s is not None:
        for table in (Report, Push, Change):
            more = _oldest(session, table, now - keep.reports_s) or more
        more = _attempts(session, now - keep.reports_s) or more
    if keep.audit_s is not None:
        more = _oldest(session, Audit, now - keep.audit_s) or more
    return more


def _oldest(session: Session, table: Any, before: float) -> bool:
    # Rows come in the order of their time, so the oldest are those with the lowest ids.
    oldest = select(table.id, table.at).order_by(table.id).limit(ROWS_MOST)
    old = [number for number, at in session.execute(oldest).tuples() if at < before]
    if old:
        session.execute(delete(table).where(table.id <= old[-1], table.at < before))
    return len(old) == ROWS_MOST


def _attempts(session: Session, before: float) -> bool:
    """Those that neither a device nor a campaign, nor a report or push that is kept, names."""
    found = select(Assignment.id).where(
        Assignment.current.is_(False),
        Assignment.updated_at < before,
        ~exists().where(Member.assignment_id == Assignment.id),
        ~exists().where(Push.assignment_id == Assignment.id),
        # By the device as well, for whose reports there is an index.
        ~exists().where(
            Report.device_id == Assignment.device_id, Report.assignment_id == Assignment.id
        ),
    )
    old = session.scalars(found.order_by(Assignment.id).limit(ROWS_MOST)).all()
    if old:
        session.execute(delete(Assignment).where(Assignment.id.in_(old)))
    return len(old) == ROWS_MOST
