"""Which pushes may go out now, and sending them: inside one transaction.

A campaign that does not run gets none. Its limits count devices, not messages: a device that is in
its download may be pushed again at any time; who begins takes a place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session, joinedload

from ..mqtt import protocol
from ..mqtt.report_ingestion import Outgoing
from ..store.database import next_revision
from ..store.models import Assignment, Campaign, Device, Firmware, Push
from . import assignment_rules
from .campaign_rules import RUNNING

log = logging.getLogger("ivota.cloud")

CHIP_TAG = "chip-"  # a device's tag that begins so says its chip, as in chip-esp32c3
PUSHES_MOST = 500  # in one transaction
NAMED_MOST = 5  # in the log
SILENT_S = 600.0  # a device that says nothing for so long in its download gives up its place


def push_due(
    session: Session,
    now: float,
    url_of: Callable[[Firmware], str],
    qos: int,
    chip_of: Callable[[Firmware], str | None] = lambda firmware: None,
) -> list[Outgoing]:
    """The pushes that are due, marked as sent.

    A device whose tags name another chip than the firmware is an image for gets none: its
    assignment has failed.
    """
    outgoing = []
    urls: dict[int, str] = {}
    pushed: dict[str, list[str]] = {}
    patches: dict[int, list[Firmware]] = {}
    for query, most in _due(session, now):
        query = query.options(joinedload(Assignment.device), joinedload(Assignment.firmware))
        for assignment in session.scalars(query.order_by(Assignment.next_push_at).limit(most)):
            firmware, device = assignment.firmware, assignment.device
            other = _other_chip(chip_of(firmware), device)
            if other:
                assignment_rules.reject(assignment, now, other)
                device.revision = next_revision(session)
                continue
            if firmware.id not in patches:
                patches[firmware.id] = _patches(session, firmware)
            sent = _choose(assignment, patches[firmware.id]) or firmware
            if sent.id not in urls:
                urls[sent.id] = url_of(sent)
            payload = protocol.update_firmware(
                firmware.version, urls[sent.id], sent.size, sent.md5
            )
            topic = protocol.update_topic(device.product_id, device.device_name)
            outgoing.append(Outgoing(topic, payload, qos))
            assignment_rules.on_pushed(assignment, now)
            session.add(Push(at=now, assignment_id=assignment.id))
            device.revision = next_revision(session)
            pushed.setdefault(firmware.version, []).append(device.name)
        session.flush()
    for version, names in pushed.items():
        # A line for each of a fleet would take longer than the pushes themselves.
        whom = ", ".join(names) if len(names) <= NAMED_MOST else f"{len(names)} devices"
        log.info("push %s to %s", version, whom)
    return outgoing


def _other_chip(chip: str | None, device: Device) -> str | None:
    """Why a device cannot start an image for `chip`, as far as its tags say; None if it may."""
    known = [each.tag for each in device.tags if each.tag.startswith(CHIP_TAG)] if chip else []
    if not known or f"{CHIP_TAG}{chip}" in known:
        return None
    return f"the image is for {chip}, but the device has the tag {' '.join(known)}"


def _patches(session: Session, firmware: Firmware) -> list[Firmware]:
    """What makes this firmware of less, the smallest first."""
    query = select(Firmware).where(
        Firmware.whole_id == firmware.id,
        Firmware.size < firmware.size,
        Firmware.deleted_at.is_(None),
    )
    return list(session.scalars(query.order_by(Firmware.size, Firmware.id)))


def _choose(assignment: Assignment, patches: list[Firmware]) -> Firmware | None:
    """The patch to send, kept in the assignment; None for the firmware itself.

    What a device may be in the midst of fetching is sent again: other bytes would begin anew.
    """
    usable = [] if assignment.whole_only else patches
    usable = [each for each in usable if each.base_version in ("", assignment.device.version)]
    begun = [each for each in usable if each.id == assignment.patch_id]
    if assignment.pushes and assignment.patch_id is None:
        usable = []
    chosen = next(iter(begun or usable), None)
    assignment.patch_id = chosen.id if chosen else None
    return chosen


def anything_due(session: Session, now: float) -> bool:
    return any(
        session.scalar(query.with_only_columns(Assignment.id).limit(1)) is not None
        for query, _ in _due(session, now)
    )


def places(session: Session, campaign: Campaign, now: float) -> int:
    """How many more devices of a campaign may begin now."""
    most = [PUSHES_MOST]
    of_campaign = select(func.count()).where(Assignment.campaign_id == campaign.id)
    if campaign.active_most is not None:
        active = (
            Assignment.state.in_(assignment_rules.ACTIVE),
            Assignment.updated_at > now - SILENT_S,
        )
        most.append(campaign.active_most - (session.scalar(of_campaign.where(*active)) or 0))
    if campaign.starts_per_min is not None:
        started = Assignment.started_at > now - 60
        most.append(campaign.starts_per_min - (session.scalar(of_campaign.where(started)) or 0))
    return max(min(most), 0)


def _due(session: Session, now: float) -> Iterator[tuple[Select[tuple[Assignment]], int]]:
    """(Query, how many of its rows may be pushed), each when its turn comes."""
    running = session.scalars(select(Campaign).where(Campaign.state == RUNNING)).all()
    limited = [c for c in running if c.active_most is not None or c.starts_per_min is not None]
    due = select(Assignment).where(Assignment.next_push_at <= now)
    free: list[ColumnElement[bool]] = [
        Assignment.campaign_id.is_(None),
        Assignment.campaign_id.in_([c.id for c in running if c not in limited]),
    ]
    for campaign in limited:
        of_campaign = Assignment.campaign_id == campaign.id
        free.append(of_campaign & Assignment.state.in_(assignment_rules.ACTIVE))
    yield due.where(or_(*free)), PUSHES_MOST
    for campaign in limited:
        if (most := places(session, campaign, now)) > 0:
            beginning = Assignment.state.not_in(assignment_rules.ACTIVE)
            yield due.where(Assignment.campaign_id == campaign.id, beginning), most
