"""Create and find a campaign's attempts, in batches of one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session, joinedload

from ..store import device_lock
from ..store.database import next_revision
from ..store.device_acceptance import ACCEPTED
from ..store.models import Assignment, Campaign, Device, Member
from . import assignment_states, restored_attempts

MOST = 500  # devices per transaction


def give(session: Session, campaign: Campaign, members: Sequence[Member], now: float) -> None:
    """Set the campaign's firmware as the target of these devices, in a few statements.

    The devices must be locked, and read afterwards (device_lock.py).
    """
    restored = restored_attempts.restored_at(session)
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
        old = device.assignment
        on_trial = assignment_states.is_trial(old, campaign.firmware.version)
        if restored_attempts.is_silent(device, restored):
            assignment_states.await_report(attempt, now)
        else:
            assignment_states.begin(attempt, device.version, now, on_trial)
        if old and _chosen_at(old) > (campaign.started_at or 0):
            assignment_states.supersede(attempt, now)  # it has received a newer target
        elif old:
            assignment_states.supersede(old, now)
        if device.status != ACCEPTED:  # it was retired in the meantime
            assignment_states.cancel(attempt, now)
        device.revision = next_revision(session)
        made.append((member, attempt))
    # Write the superseded attempts first: a device has only one target at any time.
    session.flush()
    session.add_all(attempt for _, attempt in made)
    session.flush()
    for member, attempt in made:
        member.assignment_id = attempt.id
        session.expire(member.device, ["assignment"])


def _chosen_at(assignment: Assignment) -> float:
    """Return when an operator chose this target."""
    campaign = assignment.campaign
    return campaign.started_at or 0 if campaign else assignment.created_at


def unended(
    session: Session, campaign: Campaign, *which: ColumnElement[bool]
) -> Sequence[Assignment]:
    """Find a batch of the campaign's unfinished attempts, and lock their devices. It lacks those
    whose devices another transaction has locked.
    """
    query = select(Assignment).where(
        Assignment.campaign_id == campaign.id,
        Assignment.state.in_(assignment_states.UNFINISHED),
        *which,
    )
    query = query.options(joinedload(Assignment.device))
    return session.scalars(device_lock.of_attempts(session, query, MOST)).all()


def any_unended(session: Session, campaign: Campaign) -> bool:
    """Return whether attempts of the campaign are unfinished."""
    found = select(Assignment.id).where(
        Assignment.campaign_id == campaign.id, Assignment.state.in_(assignment_states.UNFINISHED)
    )
    return session.scalar(found.limit(1)) is not None


def locked_members(session: Session, query: Select[tuple[Member]], most: int) -> Sequence[Member]:
    """Lock the devices of up to `most` members, and read them. The result lacks those whose
    devices another transaction has locked.
    """
    if device_lock.is_shared(session):
        ids = session.scalars(query.with_only_columns(Member.device_id).limit(most)).all()
        held = device_lock.lock(session, Device.id.in_(ids), wait=False)
        query = query.where(Member.device_id.in_(held)).execution_options(populate_existing=True)
    return session.scalars(query.limit(most)).all()


def members(campaign: Campaign) -> Select[tuple[Member]]:
    """Query the campaign's devices and their targets, in the order of the stages."""
    return (
        select(Member)
        .where(Member.campaign_id == campaign.id)
        .order_by(Member.stage, Member.device_id)
        .options(joinedload(Member.device).joinedload(Device.assignment))
    )
