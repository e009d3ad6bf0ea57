"""Campaigns: made, started, moved on, and what an operator may do to one.

Inside one transaction, but for what takes long: reports wait for whoever writes.
"""

from __future__ import annotations

import random
import time
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, insert, or_, select, update
from sqlalchemy.orm import Session, joinedload

from . import audit, rollout, stages
from .assign import assign, touch
from .database import Database, next_revision
from .models import Assignment, Campaign, Device, Member
from .query import versions
from .stages import (
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
from .versions import is_older

ASSIGNED_MOST = 500  # devices that get or lose their target in one transaction
# Between two of them: who waits for SQLite's write lock looks for it every 0.1 s.
BREATH_S = 0.15
QUEUED = "queued"  # a member whose stage has not begun
_RETRIED = (RUNNING, PAUSED, STOPPED, FINISHED)


class CampaignError(ValueError):
    """A campaign is not in a state for this; the message says which it is in."""


def start(session: Session, campaign: Campaign, now: float, who: str) -> None:
    """Chooses the devices and begins the first stage. Raises CampaignError, QueryError.

    All in one transaction, so that nobody ever sees a part of them, and with no object for each.
    """
    _expect(campaign, "start", DRAFT, SCHEDULED)
    found = versions(session, campaign.query, now)
    chosen = [number for number, version in found.items() if _wants(campaign, version)]
    # Who comes first is drawn, so that a first stage is a sample of all.
    random.Random(f"{campaign.id}").shuffle(chosen)
    ends = stages.bounds(campaign.stages, len(chosen))
    members = [
        {"campaign_id": campaign.id, "device_id": number, "stage": bisect_right(ends, place)}
        for place, number in enumerate(chosen)
    ]
    if members:
        session.execute(insert(Member), members)
    campaign.state, campaign.started_at, campaign.stage = RUNNING, now, 0
    audit.note(session, who, "campaign start", _name(campaign), devices=len(chosen))
    session.flush()


def _wants(campaign: Campaign, version: str | None) -> bool:
    if not campaign.only_outdated or version is None:
        return True
    return is_older(version, campaign.firmware.version)


def pause(session: Session, campaign: Campaign, who: str, reason: str = "") -> None:
    """No device gets a push until it is resumed; a download that runs may end."""
    _expect(campaign, "pause", RUNNING)
    campaign.state, campaign.reason = PAUSED, reason
    audit.note(session, who, "campaign pause", _name(campaign), reason=reason or None)


def resume(session: Session, campaign: Campaign, who: str) -> None:
    """Goes on, also past what stopped it: the stop rule counts afresh from here."""
    _expect(campaign, "resume", PAUSED, STOPPED)
    if campaign.state == STOPPED:
        total = sum(tally(session, campaign), Tally())
        campaign.waived_done, campaign.waived_failed = total.good, total.failed
        campaign.waived_stage = campaign.stage
    campaign.state, campaign.reason = RUNNING, ""
    audit.note(session, who, "campaign resume", _name(campaign))


def cancel(database: Database, number: int, now: float, who: str) -> None:
    """For good: no push any more, also for a device in mid-download.

    The campaign at once, its devices in several transactions, between which reports are taken
    in; should the process end in between, `tick` goes on. Raises CampaignError.
    """
    with database.writing() as session:
        campaign = session.get_one(Campaign, number)
        if campaign.state in ENDED:
            raise CampaignError(f"the campaign is {campaign.state} already")
        campaign.state = CANCELLED
        audit.note(session, who, "campaign cancel", _name(campaign))
        more = _cancel_open(session, campaign, now)
    while more:
        time.sleep(BREATH_S)
        with database.writing() as session:
            more = _cancel_open(session, session.get_one(Campaign, number), now)


def _cancel_open(session: Session, campaign: Campaign, now: float) -> bool:
    """Takes their target from devices that have not ended; True where more wait.

    The campaign itself has ended when none is left.
    """
    found = _open(session, campaign)
    for assignment in found:
        rollout.cancel(assignment, now)
        touch(session, assignment.device)
    if len(found) < ASSIGNED_MOST:
        campaign.ended_at = campaign.ended_at or now
    return campaign.ended_at is None


def _open(
    session: Session, campaign: Campaign, *which: ColumnElement[bool]
) -> Sequence[Assignment]:
    """Its attempts that have not ended, as many as one transaction takes."""
    query = select(Assignment).where(
        Assignment.campaign_id == campaign.id, Assignment.state.not_in(rollout.CLOSED), *which
    )
    query = query.options(joinedload(Assignment.device)).order_by(Assignment.id)
    return session.scalars(query.limit(ASSIGNED_MOST)).all()


def retry_failed(database: Database, number: int, now: float, who: str) -> int:
    """Another attempt for each device that stands as failed, and how many those are.

    In several transactions, between which reports are taken in. A finished campaign runs again
    until they have ended. Raises CampaignError.
    """
    with database.writing() as session:
        campaign = session.get_one(Campaign, number)
        if campaign.state not in _RETRIED:
            raise CampaignError(f"the campaign is {campaign.state}: nothing can be tried again")
        waiting = session.scalars(_failed(campaign)).all()
        if waiting:
            total = sum(tally(session, campaign), Tally())
            campaign.waived_done, campaign.waived_failed = total.good, total.failed
            campaign.stage_good_at = None
        audit.note(session, who, "campaign retry", _name(campaign), devices=len(waiting))
        count = _retry(session, campaign, waiting[:ASSIGNED_MOST], now)
    for at in range(ASSIGNED_MOST, len(waiting), ASSIGNED_MOST):
        time.sleep(BREATH_S)
        with database.writing() as session:
            campaign = session.get_one(Campaign, number)
            if campaign.state not in _RETRIED:
                break  # somebody has cancelled it meanwhile
            count += _retry(session, campaign, waiting[at : at + ASSIGNED_MOST], now)
    return count


def _failed(campaign: Campaign) -> Select[tuple[int]]:
    """Its devices that stand as failed, unless they were given another target since."""
    query = select(Member.device_id).where(Member.campaign_id == campaign.id)
    query = query.join(Member.assignment).order_by(Member.stage, Member.device_id)
    return query.where(Assignment.state == rollout.FAILED, Assignment.current)


def _retry(session: Session, campaign: Campaign, ids: Sequence[int], now: float) -> int:
    # Looked at again: any of them may have been given something else since they were counted.
    still = session.scalars(_failed(campaign).where(Member.device_id.in_(ids))).all()
    members = _members(session, campaign).where(Member.device_id.in_(still))
    _attempt(session, campaign, session.scalars(members).all(), now)
    campaign.waived_failed -= len(still)  # they may fail anew, and are counted when they do
    if still and campaign.state == FINISHED:
        campaign.state, campaign.ended_at = RUNNING, None
    return len(still)


def retry_device(session: Session, device: Device, now: float, who: str) -> Assignment:
    """Another attempt with the same target, in the same campaign. Raises CampaignError."""
    old = device.assignment
    if old is None or old.state not in (rollout.FAILED, rollout.RETRY, rollout.CANCELLED):
        state = old.state if old else "idle"
        raise CampaignError(f"{device.name} is {state}: there is nothing to try again")
    campaign = old.campaign if old.campaign and old.campaign.state != CANCELLED else None
    attempt = assign(session, device, old.firmware, now, campaign)
    if campaign:
        session.execute(
            update(Member)
            .where(Member.campaign_id == campaign.id, Member.device_id == device.id)
            .values(assignment_id=attempt.id)
        )
        if campaign.state == FINISHED:
            campaign.state, campaign.ended_at = RUNNING, None
    audit.note(session, who, "device retry", device.name, version=old.firmware.version)
    return attempt


def cancel_device(session: Session, device: Device, now: float, who: str) -> None:
    """Raises CampaignError where nothing is under way."""
    assignment = device.assignment
    if assignment is None or assignment.state in rollout.CLOSED:
        state = assignment.state if assignment else "idle"
        raise CampaignError(f"{device.name} is {state}: there is nothing to cancel")
    rollout.cancel(assignment, now)
    touch(session, device)
    audit.note(session, who, "device cancel", device.name, version=assignment.firmware.version)


def tally(session: Session, campaign: Campaign) -> list[Tally]:
    """By stage."""
    query = _tally(Member.stage).where(Member.campaign_id == campaign.id)
    rows = session.execute(query.group_by(Member.stage).order_by(Member.stage))
    return [Tally(*row[1:]) for row in rows.tuples()]


def tallies(session: Session, ids: Sequence[int]) -> dict[int, Tally]:
    """Of several campaigns, over all stages; one without members is left out."""
    query = _tally(Member.campaign_id).where(Member.campaign_id.in_(ids))
    rows = session.execute(query.group_by(Member.campaign_id))
    return {row[0]: Tally(*row[1:]) for row in rows.tuples()}


def states(session: Session, campaign: Campaign) -> dict[str, int]:
    """How many of its devices are in each state; QUEUED are those whose stage has not begun."""
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
        Assignment.state == rollout.DONE,
        # It ran the target before it was asked to.
        and_(Assignment.state == rollout.CURRENT, Assignment.pushes == 0),
    )
    left_out = (rollout.SUPERSEDED, rollout.SKIPPED, rollout.CANCELLED)
    return select(
        by,
        func.count(),
        func.count(1).filter(good),
        func.count(1).filter(Assignment.state == rollout.FAILED),
        func.count(1).filter(Assignment.state.in_(left_out)),
    ).outerjoin(Member.assignment)


def anything_to_do(session: Session) -> bool:
    query = select(Campaign.id).where(
        or_(Campaign.state.in_((SCHEDULED, RUNNING)), _being_cancelled())
    )
    return session.scalar(query.limit(1)) is not None


def _being_cancelled() -> ColumnElement[bool]:
    """Whether devices of a cancelled campaign have still to be told so."""
    return and_(Campaign.state == CANCELLED, Campaign.ended_at.is_(None))


def tick(session: Session, now: float) -> bool:
    """Moves every campaign on; True where there is more to do at once."""
    more = False
    due = select(Campaign).where(Campaign.state == SCHEDULED, Campaign.start_at <= now)
    for campaign in session.scalars(due).all():
        start(session, campaign, now, audit.ENGINE)
    for campaign in session.scalars(select(Campaign).where(_being_cancelled())).all():
        more = _cancel_open(session, campaign, now) or more
    for campaign in session.scalars(select(Campaign).where(Campaign.state == RUNNING)).all():
        if _time_out(session, campaign, now):
            more = True
            continue  # whether it stops is decided when all of them have been counted
        session.flush()
        step = stages.decide(campaign, tally(session, campaign), now)
        if step and step.state:
            _end(session, campaign, step, now)
            continue
        if step and step.next_stage:
            campaign.stage += 1
            campaign.stage_good_at = None
            audit.note(session, audit.ENGINE, "campaign stage", _name(campaign),
                       stage=campaign.stage + 1)  # fmt: skip
            more = True
        more = _assign_stage(session, campaign, now) or more
    return more


def _end(session: Session, campaign: Campaign, step: stages.Step, now: float) -> None:
    campaign.state, campaign.reason = step.state or campaign.state, step.reason
    if campaign.state in ENDED:
        campaign.ended_at = now
    audit.note(session, audit.ENGINE, f"campaign {campaign.state}", _name(campaign),
               reason=step.reason or None)  # fmt: skip


def _assign_stage(session: Session, campaign: Campaign, now: float) -> bool:
    """Gives the members of the stages that have begun their target; True where more wait."""
    query = _members(session, campaign).where(
        Member.assignment_id.is_(None), Member.stage <= campaign.stage
    )
    waiting: Sequence[Member] = session.scalars(query.limit(ASSIGNED_MOST)).all()
    _attempt(session, campaign, waiting, now)
    return len(waiting) == ASSIGNED_MOST


def _attempt(session: Session, campaign: Campaign, members: Sequence[Member], now: float) -> None:
    """Gives these the campaign's firmware as their target, all in a few statements."""
    made: list[tuple[Member, Assignment]] = []
    for member in members:
        device = member.device
        attempt = Assignment(
            device_id=device.id,
            firmware=campaign.firmware,
            campaign_id=campaign.id,
            only_outdated=campaign.only_outdated,
            pushes=0,
            created_at=now,
            state="",
        )
        rollout.begin(attempt, device.version, now)
        old = device.assignment
        if old and _chosen_at(old) > (campaign.started_at or 0):
            rollout.supersede(attempt, now)  # somebody has chosen another target since
        elif old:
            rollout.supersede(old, now)
        device.revision = next_revision(session)
        made.append((member, attempt))
    # What is superseded must be written first: a device has one target at any time.
    session.flush()
    session.add_all(attempt for _, attempt in made)
    session.flush()
    for member, attempt in made:
        member.assignment_id = attempt.id
        session.expire(member.device, ["assignment"])


def _chosen_at(assignment: Assignment) -> float:
    """When an operator decided on this target."""
    campaign = assignment.campaign
    return campaign.started_at or 0 if campaign else assignment.created_at


def _time_out(session: Session, campaign: Campaign, now: float) -> bool:
    """Fails those that had their time; True where more wait."""
    if campaign.timeout_s is None:
        return False
    found = _open(session, campaign, Assignment.first_push_at <= now - campaign.timeout_s)
    for assignment in found:
        rollout.time_out(assignment, now, f"not done {campaign.timeout_s:g} s after the push")
        touch(session, assignment.device)
    return len(found) == ASSIGNED_MOST


def _members(session: Session, campaign: Campaign):  # type: ignore[no-untyped-def]
    return (
        select(Member)
        .where(Member.campaign_id == campaign.id)
        .order_by(Member.stage, Member.device_id)
        .options(joinedload(Member.device).joinedload(Device.assignment))
    )


def _expect(campaign: Campaign, what: str, *states: str) -> None:
    if campaign.state not in states:
        raise CampaignError(f"cannot {what}: the campaign is {campaign.state}")


def _name(campaign: Campaign) -> str:
    return f"{campaign.id} {campaign.name}"
