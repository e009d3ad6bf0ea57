"""Change dates in the future to now, after a clock that was ahead has been corrected.

Otherwise retries and soak times would be delayed, and sign-ins stay valid, for as long as the
clock was ahead.
"""

from __future__ import annotations

from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from ..accounts import second_factor, users
from .models import Assignment, Campaign, Device, Failure, Refusal, SignIn, User

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
    life = users.PROVIDER_LIFE_S
    session.execute(
        update(SignIn).where(SignIn.expires_at > late + life).values(expires_at=now + life)
    )
    # Otherwise no code would be newer than the last one.
    step = int(now) // second_factor.PERIOD_S
    session.execute(update(User).where(User.totp_step > step + 2).values(totp_step=step))
    for column in (
        Assignment.updated_at,
        Assignment.ended_at,
        Assignment.failed_at,
        Failure.at,
        Assignment.started_at,
        Assignment.first_push_at,
        Campaign.stage_good_at,
        Device.last_seen,
        SignIn.seen_at,
        SignIn.created_at,
    ):
        table = column.class_
        session.execute(update(table).where(column > late).values({column.key: now}))
