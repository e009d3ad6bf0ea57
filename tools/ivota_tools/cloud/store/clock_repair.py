"""Change dates in the future to now, after a clock that was ahead has been corrected.

Otherwise retries and soak times would be delayed, and sign-ins stay valid, for as long as the
clock was ahead.
"""

from __future__ import annotations

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from .models import Assignment, Campaign, Device, Refusal, SignIn

AHEAD_S = 60.0  # allowed difference between two clocks


def repair(session: Session, now: float, wait_most_s: float) -> None:
    """Repair all dates; `wait_most_s` is the longest delay of a retry."""
    late = now + AHEAD_S
    session.execute(delete(Refusal).where(Refusal.at > late))
    session.execute(
        update(Assignment)
        .where(Assignment.next_push_at > late + wait_most_s)
        .values(next_push_at=now + wait_most_s)
    )
    for column in (
        Assignment.updated_at,
        Assignment.ended_at,
        Assignment.failed_at,
        Assignment.started_at,
        Assignment.first_push_at,
        Campaign.stage_good_at,
        Device.last_seen,
        SignIn.seen_at,
        SignIn.created_at,
    ):
        table = column.class_
        session.execute(update(table).where(column > late).values({column.key: now}))
