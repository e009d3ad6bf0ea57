"""Count a campaign's devices by stage and state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session

from ..store.models import Assignment, Campaign, Member
from . import assignment_states
from .campaign_states import Tally

_OPEN = (
    assignment_states.WAITING,
    assignment_states.PUSHED,
    assignment_states.DOWNLOADING,
    assignment_states.BURNING,
    assignment_states.RETRY,
)

QUEUED = "queued"  # a device whose stage has not started


def tally(session: Session, campaign: Campaign) -> list[Tally]:
    """Count the devices of each stage."""
    query = _tally(Member.stage).where(Member.campaign_id == campaign.id)
    rows = session.execute(query.group_by(Member.stage).order_by(Member.stage))
    return [Tally(*row[1:]) for row in rows.tuples()]


def tallies(session: Session, ids: Sequence[int]) -> dict[int, Tally]:
    """Count the devices of several campaigns; campaigns without devices are omitted."""
    query = _tally(Member.campaign_id).where(Member.campaign_id.in_(ids))
    rows = session.execute(query.group_by(Member.campaign_id))
    return {row[0]: Tally(*row[1:]) for row in rows.tuples()}


def states(session: Session, campaign: Campaign) -> dict[str, int]:
    """Count the devices in each state; QUEUED means that the stage has not started."""
    query = (
        select(Assignment.state, func.count())
        .select_from(Member)
        .outerjoin(Member.assignment)
        .where(Member.campaign_id == campaign.id)
        .group_by(Assignment.state)
    )
    return {state or QUEUED: count for state, count in session.execute(query).tuples()}


def _tally(by: Any) -> Select[Any]:
    good = or_(
        Assignment.state == assignment_states.DONE,
        # The device already ran the target.
        and_(Assignment.state == assignment_states.CURRENT, Assignment.pushes == 0),
    )
    left_out = (
        assignment_states.SUPERSEDED,
        assignment_states.SKIPPED,
        assignment_states.CANCELLED,
    )
    # A download that failed may be the fault of a network: it counts when it is given up.
    failing = and_(Assignment.hard_failures > 0, Assignment.state.in_(_OPEN))
    return select(
        by,
        func.count(),
        func.count(1).filter(good),
        func.count(1).filter(Assignment.state == assignment_states.FAILED),
        func.count(1).filter(Assignment.state.in_(left_out)),
        func.count(1).filter(failing),
        func.count(1).filter(Assignment.state.in_(left_out), Assignment.failure_code.is_not(None)),
    ).outerjoin(Member.assignment)
