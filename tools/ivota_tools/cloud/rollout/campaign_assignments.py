"""Create and find a campaign's attempts, in batches of one transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, Update, func, insert, literal, select, update
from sqlalchemy.orm import Session, joinedload, lazyload

from ..store import change_numbers, device_lock
from ..store.device_acceptance import ACCEPTED
from ..store.models import Assignment, Campaign, Device, Member
from . import assignment_states, campaign_counts, restored_attempts

MOST = 100  # devices per transaction
_COLUMNS = Assignment.__table__.columns


def give(session: Session, campaign: Campaign, members: Sequence[Member], now: float) -> None:
    """Set the campaign's firmware as the target of these devices.

    The devices must be locked, and read afterwards (device_lock.py). Attempts with the same
    initial values are inserted together, so the number of statements does not depend on the number
    of devices.
    """
    session.flush()
    restored = restored_attempts.restored_at(session)
    alike: defaultdict[tuple[tuple[str, Any], ...], list[int]] = defaultdict(list)
    replaced: defaultdict[bool, list[int]] = defaultdict(list)  # by whether they had ended
    for member in members:
        old = member.device.assignment
        attempt = _begun(campaign, member.device, restored, now)
        alike[tuple(_fields(attempt).items())].append(member.device_id)
        if old and attempt.current is not False:
            replaced[old.state in assignment_states.CLOSED].append(old.id)
    ids = [member.device_id for member in members]
    of_campaign = (Member.campaign_id == campaign.id) & Member.device_id.in_(ids)
    moved = of_campaign | Member.assignment_id.in_(replaced[False])  # these in other campaigns
    campaign_counts.note_rows(session, moved, gone=True)
    # First the replaced attempts: a device has only one target at any time.
    for ended, attempts in replaced.items():
        which = Assignment.id.in_(attempts)
        _change(session, update(Assignment).where(which).values(_superseded(ended, now)))
    for fields, devices in alike.items():
        values = [literal(value, _COLUMNS[name].type) for name, value in fields]
        found = select(Device.id, *values).where(Device.id.in_(devices))
        names = ["device_id", *(name for name, _ in fields)]
        session.execute(insert(Assignment).from_select(names, found))
    # Found by the device alone: the index of the campaign would lead to all of its attempts.
    newest = select(func.max(Assignment.id)).where(Assignment.device_id == Member.device_id)
    linked = update(Member).where(of_campaign).values(assignment_id=newest.scalar_subquery())
    _change(session, linked)
    campaign_counts.note_rows(session, moved)
    change_numbers.renumber(session, ids)
    for member in members:  # their loaded values are out of date
        for row in (member.device.assignment, member.device, member):
            if row is not None:
                session.expire(row)


def _begun(campaign: Campaign, device: Device, restored: float, now: float) -> Assignment:
    """Return a new attempt, which is not part of the session."""
    attempt = Assignment(
        firmware=campaign.firmware,
        firmware_id=campaign.firmware_id,
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
    if device.status != ACCEPTED:  # it was retired in the meantime
        assignment_states.cancel(attempt, now)
    return attempt


def _superseded(ended: bool, now: float) -> dict[str, Any]:
    """Return the fields of an attempt that change when another one replaces it."""
    attempt = Assignment(state=assignment_states.DONE if ended else assignment_states.WAITING)
    assignment_states.supersede(attempt, now)
    return {
        name: value for name, value in _fields(attempt).items() if not ended or name != "state"
    }


def _fields(attempt: Assignment) -> dict[str, Any]:
    """Return the fields that have been set."""
    return {name: value for name, value in vars(attempt).items() if name in _COLUMNS}


def _change(session: Session, statement: Update) -> None:
    session.execute(statement, execution_options={"synchronize_session": False})


def _chosen_at(assignment: Assignment) -> float:
    """Return when an operator chose this target."""
    campaign = assignment.campaign
    return campaign.started_at or 0 if campaign else assignment.created_at


def unended(
    session: Session, campaign: Campaign, *which: ColumnElement[bool]
) -> Sequence[Assignment]:
    """Find a batch of the campaign's unfinished attempts, and lock their devices. It omits
    attempts whose devices another transaction has locked.
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
    """Lock the devices of up to `most` members, and read them. The result omits members whose
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
        .options(
            joinedload(Member.device).options(
                lazyload(Device.tags),
                joinedload(Device.assignment).options(
                    joinedload(Assignment.firmware), joinedload(Assignment.campaign)
                ),
            )
        )
    )
