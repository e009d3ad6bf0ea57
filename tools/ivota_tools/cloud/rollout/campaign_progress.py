"""Advance campaigns automatically: start, move to the next stage, stop and finish them."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from ...common.durations import span
from ..accounts import audit_log
from ..mqtt.messages import MESSAGE_MOST
from ..store.models import Assignment, Campaign, Member
from . import (
    assignment_states,
    campaign_actions,
    campaign_assignments,
    campaign_counts,
    campaign_rules,
    campaign_selection,
)
from .assignment import touch
from .campaign_rules import CANCELLED, ENDED, RUNNING, SCHEDULED
from .device_query import QueryError


def anything_to_do(session: Session) -> bool:
    """Return whether `tick` has anything to do; a cheap check while idle."""
    query = select(Campaign.id).where(
        or_(
            Campaign.state.in_((SCHEDULED, RUNNING)),
            Campaign.selection.is_not(None),  # even if it is paused
            _being_cancelled(),
        )
    )
    return session.scalar(query.limit(1)) is not None


def _being_cancelled() -> ColumnElement[bool]:
    """Return whether devices of a cancelled campaign still have to be cancelled."""
    return and_(Campaign.state == CANCELLED, Campaign.ended_at.is_(None))


def tick(session: Session, now: float) -> bool:
    """Advance every campaign; return True if there is more to do immediately."""
    more = False
    due = select(Campaign).where(Campaign.state == SCHEDULED, Campaign.start_at <= now)
    for campaign in session.scalars(due).all():
        try:
            campaign_actions.start(session, campaign, now, audit_log.ENGINE)
        except QueryError as error:  # stored by an older version of ivota with looser rules
            _end(session, campaign, campaign_rules.Step(CANCELLED, str(error)[:MESSAGE_MOST]), now)
    for campaign in session.scalars(select(Campaign).where(_being_cancelled())).all():
        more = campaign_actions.cancel_some(session, campaign, now) or more
    selecting = select(Campaign).where(Campaign.selection.is_not(None))
    for campaign in session.scalars(selecting).all():
        campaign_selection.advance(session, campaign)
        more = True
    running = select(Campaign).where(Campaign.state == RUNNING, Campaign.selection.is_(None))
    for campaign in session.scalars(running).all():
        if _time_out(session, campaign, now):
            more = True
            continue  # apply the stop rule after all of them have been counted
        session.flush()
        campaign_counts.fold(session, campaign)
        step = campaign_rules.decide(campaign, campaign_counts.tally(session, campaign), now)
        if step and step.state:
            _end(session, campaign, step, now)
            continue
        if step and step.next_stage:
            campaign.stage += 1
            campaign.stage_good_at = None
            audit_log.note(
                session,
                audit_log.ENGINE,
                "campaign stage",
                campaign_actions.name(campaign),
                stage=campaign.stage + 1,
            )
            more = True
        more = _assign_stage(session, campaign, now) or more
    return more


def _end(session: Session, campaign: Campaign, step: campaign_rules.Step, now: float) -> None:
    campaign.state, campaign.reason = step.state or campaign.state, step.reason
    if campaign.state in ENDED:
        campaign.ended_at = now
    audit_log.note(
        session,
        audit_log.ENGINE,
        f"campaign {campaign.state}",
        campaign_actions.name(campaign),
        reason=step.reason or None,
    )


def _assign_stage(session: Session, campaign: Campaign, now: float) -> bool:
    """Set the targets of a batch of devices in started stages; return True if there are more."""
    query = campaign_assignments.members(campaign).where(
        Member.assignment_id.is_(None), Member.stage <= campaign.stage
    )
    waiting = campaign_assignments.locked_members(session, query, campaign_assignments.MOST)
    campaign_assignments.give(session, campaign, waiting, now)
    return len(waiting) == campaign_assignments.MOST


def _time_out(session: Session, campaign: Campaign, now: float) -> bool:
    """Fail a batch of devices that timed out; return True if there are more."""
    if campaign.timeout_s is None:
        return False
    found = campaign_assignments.unended(
        session, campaign, Assignment.first_push_at <= now - campaign.timeout_s
    )
    for assignment in found:
        assignment_states.time_out(
            assignment, now, f"not finished {span(campaign.timeout_s)} after the push"
        )
        touch(session, assignment.device)
    return len(found) == campaign_assignments.MOST
