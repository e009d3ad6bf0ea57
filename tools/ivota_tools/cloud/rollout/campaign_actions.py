"""The operator's actions on a campaign.

Each action is one transaction, except for long ones: writers delay the storage of reports.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from ..accounts import audit_log
from ..store import device_lock
from ..store.database import Database
from ..store.models import Assignment, Campaign, Member
from . import (
    assignment_states,
    campaign_assignments,
    campaign_counts,
    campaign_rules,
    campaign_selection,
    device_query,
)
from .assignment import touch
from .campaign_rules import (
    CANCELLED,
    DRAFT,
    ENDED,
    FINISHED,
    PAUSED,
    RUNNING,
    SCHEDULED,
    STOPPED,
    Tally,
)

# Pause between two transactions: SQLite polls for the write lock every 0.1 s.
BREATH_S = 0.15
_RETRIED = (RUNNING, PAUSED, STOPPED, FINISHED)


class CampaignError(ValueError):
    """The campaign's state does not allow this action."""


def start(session: Session, campaign: Campaign, now: float, who: str) -> None:
    """Begin to select the devices; `campaign_progress.tick` continues, and then starts the first
    stage. Raises CampaignError, QueryError.
    """
    expect_startable(campaign)
    device_query.parse(campaign.query)
    campaign.state, campaign.started_at, campaign.stage = RUNNING, now, 0
    audit_log.note(session, who, "campaign start", name(campaign))
    campaign_selection.begin(session, campaign)
    session.flush()


def expect_startable(campaign: Campaign) -> None:
    """Raise CampaignError unless the campaign is a draft or scheduled."""
    _expect(campaign, "start", DRAFT, SCHEDULED)


def pause(session: Session, campaign: Campaign, who: str, reason: str = "") -> None:
    """Pause pushes until the campaign is resumed; downloads in progress can finish."""
    _expect(campaign, "pause", RUNNING)
    campaign.state, campaign.reason = PAUSED, reason
    audit_log.note(session, who, "campaign pause", name(campaign), reason=reason or None)


def resume(session: Session, campaign: Campaign, who: str) -> None:
    """Resume a paused or stopped campaign; the stop rule counts only new failures."""
    _expect(campaign, "resume", PAUSED, STOPPED)
    if campaign.state == STOPPED:
        total = sum(campaign_counts.tally(session, campaign), Tally())
        campaign.waived_done = total.good
        campaign.waived_failed = campaign_rules.failures(campaign, total)
        campaign.waived_stage = campaign.stage
    campaign.state, campaign.reason = RUNNING, ""
    audit_log.note(session, who, "campaign resume", name(campaign))


def cancel(database: Database, number: int, now: float, who: str) -> None:
    """Cancel a campaign permanently: its devices get no more pushes.

    The campaign is cancelled immediately, its devices in several transactions, so that reports
    can be stored in between. If the process ends in between, `campaign_progress.tick` continues.
    Raises CampaignError.
    """
    with database.writing() as session:
        campaign = session.get_one(Campaign, number)
        if campaign.state in ENDED:
            raise CampaignError(f"the campaign is already {campaign.state}")
        campaign.state, campaign.selection = CANCELLED, None
        audit_log.note(session, who, "campaign cancel", name(campaign))
        more = cancel_some(session, campaign, now)
    while more:
        time.sleep(BREATH_S)
        with database.writing() as session:
            more = cancel_some(session, session.get_one(Campaign, number), now)


def cancel_some(session: Session, campaign: Campaign, now: float) -> bool:
    """Remove the target from a batch of unfinished devices; return True if there are more.

    The campaign has ended when none are left.
    """
    found = campaign_assignments.unended(session, campaign)
    for assignment in found:
        assignment_states.cancel(assignment, now)
        touch(session, assignment.device)
    session.flush()
    if not campaign_assignments.any_unended(session, campaign):
        campaign.ended_at = campaign.ended_at or now
    return campaign.ended_at is None


def retry_failed(database: Database, number: int, now: float, who: str) -> int:
    """Retry each failed device; return their number.

    This takes several transactions, so that reports can be stored in between. A finished campaign
    runs again until the retries end. Raises CampaignError.
    """
    with database.reading() as session:  # of many devices, which others must not wait for
        campaign = session.get_one(Campaign, number)
        waiting = session.scalars(_failed(campaign)).all()
    with database.writing() as session:
        campaign = session.get_one(Campaign, number)
        if campaign.state not in _RETRIED:
            raise CampaignError(f"the campaign is {campaign.state}: nothing to retry")
        if not waiting:
            raise CampaignError(f"nothing to retry: {_why_none(session, campaign)}")
        # Before the campaign is changed: a push waits for that, while it has locked its device.
        device_lock.lock_ids(session, waiting[: campaign_assignments.MOST])
        total = sum(campaign_counts.tally(session, campaign), Tally())
        campaign.waived_done = total.good
        campaign.waived_failed = campaign_rules.failures(campaign, total)
        campaign.stage_good_at = None
        audit_log.note(session, who, "campaign retry", name(campaign), devices=len(waiting))
        count = _retry(session, campaign, waiting[: campaign_assignments.MOST], now)
    for at in range(campaign_assignments.MOST, len(waiting), campaign_assignments.MOST):
        time.sleep(BREATH_S)
        with database.writing() as session:
            campaign = session.get_one(Campaign, number)
            if campaign.state not in _RETRIED:
                break  # it was cancelled in the meantime
            count += _retry(session, campaign, waiting[at : at + campaign_assignments.MOST], now)
    return count


def _why_none(session: Session, campaign: Campaign) -> str:
    """Explain why no device can be retried."""
    total = sum(campaign_counts.tally(session, campaign), Tally())
    if total.failed:
        failed = (
            "1 failed device has" if total.failed == 1 else f"{total.failed} failed devices have"
        )
        return f"{failed} since received a newer target"
    words = [f"no device has failed permanently; {total.good} of {total.members} are done"]
    if total.failing:
        words.append(f"{total.failing} will be retried automatically")
    return ", ".join(words)


def _failed(campaign: Campaign) -> Select[tuple[int]]:
    """Find the campaign's failed devices that have no newer target."""
    query = select(Member.device_id).where(Member.campaign_id == campaign.id)
    query = query.join(Member.assignment).order_by(Member.stage, Member.device_id)
    return query.where(Assignment.state == assignment_states.FAILED, Assignment.current)


def _retry(session: Session, campaign: Campaign, ids: Sequence[int], now: float) -> int:
    # Check again: a device may have received another target since the count.
    device_lock.lock_ids(session, ids)
    still = session.scalars(_failed(campaign).where(Member.device_id.in_(ids))).all()
    members = campaign_assignments.members(campaign).where(Member.device_id.in_(still))
    members = members.execution_options(populate_existing=True)
    campaign_assignments.give(session, campaign, session.scalars(members).all(), now)
    campaign.waived_failed -= len(still)  # new failures are counted again
    if still and campaign.state == FINISHED:
        campaign.state, campaign.ended_at = RUNNING, None
    return len(still)


def _expect(campaign: Campaign, what: str, *states: str) -> None:
    if campaign.state not in states:
        raise CampaignError(f"cannot {what}: the campaign is {campaign.state}")


def name(campaign: Campaign) -> str:
    return f"{campaign.id} {campaign.name}"
