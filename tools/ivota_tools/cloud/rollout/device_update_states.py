"""Group devices by the state of their update, for lists and queries: which need attention?"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, or_

from ..store.models import Assignment
from . import assignment_states

SILENT_S = 600.0  # an update without a report for this long is stalled
FINE = (assignment_states.DONE, assignment_states.SKIPPED)
OPEN = (*assignment_states.ACTIVE, assignment_states.WAITING, assignment_states.CURRENT)
FAILING = (assignment_states.FAILED, assignment_states.RETRY)
# States that no assignment has: without a target, active without recent reports, and groups.
IDLE, STALLED, ATTENTION, ON_THE_WAY = "idle", "stalled", "attention", "on-the-way"

# The values of the term `state:`.
NAMES = (
    ATTENTION, assignment_states.FAILED, STALLED, assignment_states.RETRY, ON_THE_WAY,
    assignment_states.WAITING, assignment_states.PUSHED, assignment_states.DOWNLOADING,
    assignment_states.BURNING, assignment_states.CURRENT, assignment_states.DONE,
    assignment_states.CANCELLED, assignment_states.SKIPPED, IDLE,
)  # fmt: skip


def is_stalled(assignment: Assignment | None, now: float) -> bool:
    """Return whether an active update has not sent a report for a while."""
    return (
        assignment is not None
        and assignment.state in assignment_states.ACTIVE
        and assignment.updated_at < now - SILENT_S
    )


def stalled(now: float) -> ColumnElement[bool]:
    """Return the condition of `is_stalled` in SQL."""
    return and_(
        Assignment.state.in_(assignment_states.ACTIVE), Assignment.updated_at < now - SILENT_S
    )


def left_target() -> ColumnElement[bool]:
    """Return the condition for a device that has reported another version since its update."""
    return and_(Assignment.state == assignment_states.DONE, Assignment.left_target)


def attention(assignment: Assignment | None, now: float) -> str | None:
    """Return why an operator should look at a device: FAILED, STALLED, RETRY, or None."""
    if assignment is None:
        return None
    if is_stalled(assignment, now):
        return STALLED
    return assignment.state if assignment.state in FAILING else None


def of_attempt(state: str, now: float) -> ColumnElement[bool]:
    """Return the condition for a device's current attempt, if it has one, to be in this state."""
    if state == IDLE:
        return Assignment.id.is_(None)
    if state == STALLED:
        return stalled(now)
    if state == ATTENTION:
        return or_(Assignment.state.in_(FAILING), stalled(now))
    if state == ON_THE_WAY:
        return and_(Assignment.state.in_(OPEN), ~stalled(now))
    if state == assignment_states.DONE:
        return and_(Assignment.state.in_(FINE), ~left_target())
    return Assignment.state == state
