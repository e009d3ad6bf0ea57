"""Delete expired rows, a few at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, exists, func, select
from sqlalchemy.orm import Session

from .models import Assignment, Audit, Change, Controller, Member, Push, Report

ROWS_MOST = 1000  # rows per table at a time, so that others do not wait long
ATTEMPTS_MOST = 2000  # attempts that a step looks at; most of them are still in use


@dataclass(frozen=True)
class Keep:
    """How long to keep rows, in seconds; None means forever.

    reports_s   reports, pushes, version changes and superseded attempts
    audit_s     the audit log
    """

    reports_s: float | None = None
    audit_s: float | None = None

    def __bool__(self) -> bool:
        return self.reports_s is not None or self.audit_s is not None


class Forgetting:
    """Delete expired rows in steps, each of which looks at a limited number of rows."""

    def __init__(self) -> None:
        self._after = 0  # the id of the last attempt that was looked at

    def step(self, session: Session, keep: Keep, now: float) -> bool:
        """Delete some of the oldest rows; return True if there are more to look at.

        The result of an attempt stays as long as a campaign counts it.
        """
        more = False
        if keep.reports_s is not None:
            for table in (Report, Push, Change):
                more = _oldest(session, table, now - keep.reports_s, now) or more
            more = self._attempts(session, now - keep.reports_s) or more
        if keep.audit_s is not None:
            more = _oldest(session, Audit, now - keep.audit_s, now) or more
        return more

    def _attempts(self, session: Session, before: float) -> bool:
        """Delete attempts to which no device, campaign, remaining report or push refers."""
        found = select(Assignment.id).where(
            Assignment.id > self._after,
            Assignment.id <= self._after + ATTEMPTS_MOST,
            Assignment.current.is_(False),
            func.coalesce(Assignment.ended_at, Assignment.updated_at) < before,
            ~exists().where(Member.assignment_id == Assignment.id),
            ~exists().where(Push.assignment_id == Assignment.id),
            ~exists().where(Controller.assignment_id == Assignment.id),
            # Filter by device, too: the reports have an index on that column.
            ~exists().where(
                Report.device_id == Assignment.device_id, Report.assignment_id == Assignment.id
            ),
        )
        if old := session.scalars(found).all():
            session.execute(delete(Assignment).where(Assignment.id.in_(old)))
        self._after += ATTEMPTS_MOST
        if self._after >= (session.scalar(select(func.max(Assignment.id))) or 0):
            self._after = 0
        return self._after > 0


def _oldest(session: Session, table: Any, before: float, now: float) -> bool:
    # Rows are inserted in the order of time, so the oldest have the lowest ids. Rows from a time
    # when the clock was ahead may come before them.
    after = 0
    while True:
        some = select(table.id, table.at).where(table.id > after).order_by(table.id)
        rows = session.execute(some.limit(ROWS_MOST)).tuples().all()
        if old := [number for number, at in rows if at < before]:
            session.execute(
                delete(table).where(table.id > after, table.id <= old[-1], table.at < before)
            )
            return len(rows) == ROWS_MOST
        if len(rows) < ROWS_MOST or any(at <= now for _, at in rows):
            return False
        after = rows[-1][0]
