"""After a clock that was ahead has been set right: what is dated in the future is dated now.

Otherwise a retry would wait, a soak time last and a sign-in stay good for as long as the clock was
ahead.
"""

from __future__ import annotations

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from .models import Assignment, Campaign, Device, Refusal, SignIn

AHEAD_S = 60.0  # that two clocks may differ


def repair(session: Session, now: float, wait_most_s: float) -> None:
    """`wait_most_s`: no retry waits longer."""
    late = now + AHEAD_S
    session.execute(delete(Refusal).where(Refusal.at > late))
    session.execute(
        update(Assignment)
        .where(Assignment.next_push_at > late + wait_most_s)
        .values(next_push_at=now + wait_most_s)
    )
    for column in (
        Assignment.updated_at,
        Assignment.started_at,
        Assignment.first_push_at,
        Campaign.stage_good_at,
        Device.last_seen,
        SignIn.seen_at,
        SignIn.created_at,
    ):
        table = column.class_
        session.execute(update(table).where(column > late).values({column.key: now}))
