"""Select the devices of a campaign that starts, in steps that each take one short transaction.

The first steps check each device once, in the order of the ids. The next steps divide the members
among the stages at random. `Campaign.selection` says where the next step begins. It changes in the
same transaction as the members, so a kill between two steps loses nothing and repeats nothing.
"""

from __future__ import annotations

import random
from collections import Counter

from sqlalchemy import ColumnElement, func, insert, literal, or_, select, text, update
from sqlalchemy.orm import Session

from ...common.version_order import key
from ..store import device_lock
from ..store.models import Campaign, Device, Member
from . import campaign_counts, campaign_rules, device_chip, device_query, firmware_match
from .campaign_counts import Kind

MOST = 500  # devices in a step


def begin(session: Session, campaign: Campaign) -> None:
    """Start with the devices that exist now, and take the first step, which completes a small
    selection.
    """
    last = session.scalar(select(func.max(Device.id))) or 0
    campaign.selection = {"after": 0, "until": last, "chosen": 0}
    advance(session, campaign)
    if campaign.selection and "until" not in campaign.selection:
        _allot(session, campaign)
    if campaign.selection and "left" in campaign.selection:
        advance(session, campaign)


def advance(session: Session, campaign: Campaign) -> None:
    """Take one step. The selection is complete when `campaign.selection` is None."""
    if campaign.selection and "until" in campaign.selection:
        _judge(session, campaign)
    elif campaign.selection and "left" in campaign.selection:
        _divide(session, campaign)
    elif campaign.selection:
        _allot(session, campaign)


def _judge(session: Session, campaign: Campaign) -> None:
    """Add the matching devices among the next `MOST` ids."""
    assert campaign.selection
    after, until, chosen = (campaign.selection[name] for name in ("after", "until", "chosen"))
    last = min(after + MOST, until)
    found = select(literal(campaign.id), Device.id, literal(0)).where(
        Device.id > after, Device.id <= last, *conditions(session, campaign)
    )
    session.execute(insert(Member).from_select(("campaign_id", "device_id", "stage"), found))
    # Count them again: not every driver tells how many rows an insert has made.
    count = select(func.count()).where(
        Member.campaign_id == campaign.id, Member.device_id > after, Member.device_id <= last
    )
    found_now = session.scalar(count) or 0
    campaign_counts.note(session, {(campaign.id, 0, Kind()): found_now})
    chosen += found_now
    if last < until:
        campaign.selection = {"after": last, "until": until, "chosen": chosen}
    else:
        campaign.selection = {"chosen": chosen}


def _allot(session: Session, campaign: Campaign) -> None:
    """Compute the sizes of the stages from the number of members."""
    assert campaign.selection
    chosen = campaign.selection["chosen"]
    if chosen > MOST and device_lock.is_shared(session):
        # Until PostgreSQL knows that the table has grown, it reads all of a campaign's members to
        # find a hundred of them.
        session.execute(text("ANALYZE members"))
    ends = campaign_rules.bounds(campaign.stages, chosen)
    sizes = [end - before for before, end in zip([0, *ends], ends, strict=False)]
    campaign.selection = {"after": 0, "left": sizes} if len(sizes) > 1 else None


def _divide(session: Session, campaign: Campaign) -> None:
    """Draw the stage of the next `MOST` members; `left` places remain in each stage.

    Each member gets each remaining place with the same probability, so the first stage is a
    random sample, without a list of all members.
    """
    assert campaign.selection
    after, left = campaign.selection["after"], [*campaign.selection["left"]]
    member = select(Member.device_id).where(
        Member.campaign_id == campaign.id, Member.device_id > after
    )
    ids = session.scalars(member.order_by(Member.device_id).limit(MOST)).all()
    draw = random.Random(f"{campaign.id} {after}")
    drawn: list[list[int]] = [[] for _ in left]
    moved: Counter[campaign_counts.Place] = Counter()
    for number in ids:
        (stage,) = draw.choices(range(len(left)), left)
        left[stage] -= 1
        drawn[stage].append(number)
    for stage, numbers in enumerate(drawn):
        if stage and numbers:
            moved[campaign.id, stage, Kind()] = len(numbers)
            moved[campaign.id, 0, Kind()] -= len(numbers)
    # First all of them to the stage that most have drawn, because a range is faster than a list.
    most = max(range(len(drawn)), key=lambda stage: len(drawn[stage]))
    if ids and most:
        _move(session, campaign, most, Member.device_id > after, Member.device_id <= ids[-1])
    for stage, numbers in enumerate(drawn):
        if numbers and stage != most:
            _move(session, campaign, stage, Member.device_id.in_(numbers))
    campaign_counts.note(session, moved)
    done = len(ids) < MOST or not sum(left)
    campaign.selection = None if done else {"after": ids[-1], "left": left}


def _move(session: Session, campaign: Campaign, stage: int, *which: ColumnElement[bool]) -> None:
    session.execute(
        update(Member).where(Member.campaign_id == campaign.id, *which).values(stage=stage),
        execution_options={"synchronize_session": False},
    )


def conditions(session: Session, campaign: Campaign) -> list[ColumnElement[bool]]:
    """Return the conditions for the devices that the campaign includes. Raises QueryError."""
    now = campaign.started_at or campaign.created_at
    found = device_query.accepted(session, campaign.query, now)
    found += device_chip.fits(campaign.firmware)
    if not campaign.mismatched:
        found += firmware_match.conditions(campaign.firmware)
    if campaign.only_outdated:
        older = Device.version_key < key(campaign.firmware.version)
        found.append(or_(Device.version_key.is_(None), older))
    return found
