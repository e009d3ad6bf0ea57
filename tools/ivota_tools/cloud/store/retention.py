"""What is kept no longer: old reports and pushes, a few at a time, inside one transaction."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from .models import Push, Report

ROWS_MOST = 1000  # of each table at a time, so that nobody waits for it


def forget(session: Session, before: float) -> bool:
    """Deletes the oldest rows from before this Unix time; True where there are more of them.

    What came of an attempt stays: the attempt itself, and the audit log.
    """
    more = False
    for table in (Report, Push):
        # Rows come in the order of their time, so the oldest are those with the lowest ids.
        oldest = select(table.id, table.at).order_by(table.id).limit(ROWS_MOST)
        old = [number for number, at in session.execute(oldest).tuples() if at < before]
        if old:
            session.execute(delete(table).where(table.id <= old[-1], table.at < before))
        more = more or len(old) == ROWS_MOST
    return more
