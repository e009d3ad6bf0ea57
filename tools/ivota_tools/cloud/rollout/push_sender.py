"""Select and send the pushes that are due, inside one transaction.

Campaigns that are not running send no pushes. Their limits count devices, not messages: a device
that is downloading can always be pushed again, but a new device needs a free place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import ColumnElement, Select, func, insert, not_, or_, select
from sqlalchemy.orm import Session, joinedload

from ..downloads.signed_urls import DownloadUrl
from ..mqtt import messages
from ..mqtt.report_ingestion import Outgoing
from ..store import device_lock
from ..store.database import next_revision
from ..store.models import MQTT, Assignment, Campaign, Device, Firmware, Push
from . import assignment_states, device_chip, firmware_match
from .campaign_rules import RUNNING
from .device_update_states import SILENT_S

UrlOf = Callable[[Firmware, int], DownloadUrl]

log = logging.getLogger("ivota.cloud")

PUSHES_MOST = 200  # in one transaction
NAMED_MOST = 5  # in the log


def push_due(
    session: Session,
    now: float,
    url_of: UrlOf,
    qos: int,
) -> list[Outgoing]:
    """Return the pushes that are due, and mark them as sent.

    `url_of` returns where a device can download a firmware if it accepts this many characters.

    If a device has another chip than the image's, its assignment fails instead, and so it does if
    the device has reported another application since its campaign was planned.
    """
    outgoing = []
    rows: list[dict[str, Any]] = []
    urls: dict[tuple[int, int], DownloadUrl] = {}
    pushed: dict[str, list[str]] = {}
    patches: dict[int, list[Firmware]] = {}
    _keep_running(session)
    for query, most in _due(session, now, _by_mqtt()):
        query = query.options(joinedload(Assignment.device), joinedload(Assignment.firmware))
        query = query.order_by(Assignment.next_push_at)
        for assignment in session.scalars(device_lock.of_attempts(session, query, most)):
            firmware, device = assignment.firmware, assignment.device
            other = device_chip.mismatch(firmware, device) or _mismatch(assignment)
            if other:
                assignment_states.reject(assignment, now, other)
                device.revision = next_revision(session)
                continue
            if firmware.id not in patches:
                patches[firmware.id] = _patches(session, firmware)
            sent = _choose(assignment, patches[firmware.id]) or firmware
            most = messages.url_most(device.message_most)
            if (sent.id, most) not in urls:
                urls[sent.id, most] = url_of(sent, most)
            url, elsewhere = urls[sent.id, most]
            if elsewhere:  # `missing_downloads` would wait for a request in vain
                sent.asked_at = now
            payload = messages.update_firmware(firmware.version, url, sent.size, sent.md5)
            topic = messages.update_topic(device.product_id, device.device_name)
            outgoing.append(Outgoing(topic, payload, qos))
            _pushed(session, assignment, now)
            rows.append({"at": now, "assignment_id": assignment.id})
            pushed.setdefault(firmware.version, []).append(device.name)
        session.flush()
    if rows:
        session.execute(insert(Push.__table__), rows)  # type: ignore[arg-type]
    for version, names in pushed.items():
        # Writing a log line for each device of a fleet would take longer than the pushes.
        whom = ", ".join(names) if len(names) <= NAMED_MOST else f"{len(names)} devices"
        log.info("pushing %s to %s", version, whom)
    return outgoing


def push_to(session: Session, device: Device, now: float) -> Assignment | None:
    """Push to a device that asks for updates itself; None if no push is due.

    The full firmware is its update: patches are for boards. The device must be locked.
    """
    waiting = Assignment.device_id == device.id, Assignment.next_push_at <= now
    if session.scalar(select(Assignment.id).where(*waiting).limit(1)) is None:
        return None
    _keep_running(session)
    for query, most in _due(session, now, Assignment.device_id == device.id):
        if assignment := session.scalar(query.limit(min(most, 1))):
            if other := _mismatch(assignment):
                assignment_states.reject(assignment, now, other)
                device.revision = next_revision(session)
                return None
            _pushed(session, assignment, now)
            session.add(Push(at=now, assignment_id=assignment.id))
            log.info("pushing %s to %s", assignment.firmware.version, device.name)
            return assignment
    return None


def _keep_running(session: Session) -> None:
    """Make a pause or a cancellation of the campaign wait for these pushes, so that no push
    follows it.
    """
    if not device_lock.is_shared(session):
        return
    running = select(Campaign.id).where(Campaign.state == RUNNING).order_by(Campaign.id)
    # Pushes of a campaign with limits also wait for each other, so that each of them counts.
    limited = or_(Campaign.active_most.is_not(None), Campaign.starts_per_min.is_not(None))
    session.execute(running.where(not_(limited)).with_for_update(read=True))
    session.execute(running.where(limited).with_for_update(key_share=True))


def _pushed(session: Session, assignment: Assignment, now: float) -> None:
    assignment_states.on_pushed(assignment, now)
    assignment.device.revision = next_revision(session)


def _by_mqtt() -> ColumnElement[bool]:
    """Select the devices to which a push is a message. The others ask: see `push_to`."""
    return Assignment.device.has(Device.transport == MQTT)


def _mismatch(assignment: Assignment) -> str | None:
    """Return why the firmware is not for the device, or None. A single push is not checked."""
    campaign = assignment.campaign
    if campaign is None or campaign.mismatched:
        return None
    return firmware_match.mismatch(assignment.firmware, assignment.device)


def _patches(session: Session, firmware: Firmware) -> list[Firmware]:
    """Find the patches that produce this firmware, smallest first."""
    query = select(Firmware).where(
        Firmware.whole_id == firmware.id,
        Firmware.size < firmware.size,
        Firmware.deleted_at.is_(None),
    )
    return list(session.scalars(query.order_by(Firmware.size, Firmware.id)))


def _choose(assignment: Assignment, patches: list[Firmware]) -> Firmware | None:
    """Choose the patch to send and record it in the assignment; None means the full firmware.

    A patch that the device may be downloading is sent again, so that the download can resume.
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
        for query, _ in _due(session, now, _by_mqtt())
    )


def count_due(session: Session, now: float, since: float) -> int:
    """Count the pushes that may be sent now and have been due since `since` or longer."""
    found = 0
    for query, most in _due(session, now, _by_mqtt()):
        older = query.where(Assignment.next_push_at <= since).with_only_columns(Assignment.id)
        found += (
            session.scalar(select(func.count()).select_from(older.limit(most).subquery())) or 0
        )
    return found


def places(session: Session, campaign: Campaign, now: float) -> int:
    """Return how many more devices of a campaign may start now."""
    most = [PUSHES_MOST]
    of_campaign = select(func.count()).where(Assignment.campaign_id == campaign.id)
    if campaign.active_most is not None:
        active = (
            Assignment.state.in_(assignment_states.ACTIVE),
            Assignment.updated_at > now - SILENT_S,
        )
        most.append(campaign.active_most - (session.scalar(of_campaign.where(*active)) or 0))
    if campaign.starts_per_min is not None:
        started = Assignment.started_at > now - 60
        most.append(campaign.starts_per_min - (session.scalar(of_campaign.where(started)) or 0))
    return max(min(most), 0)


def _due(
    session: Session, now: float, whose: ColumnElement[bool]
) -> Iterator[tuple[Select[tuple[Assignment]], int]]:
    """Yield each query with the number of its rows that may be pushed."""
    running = session.scalars(select(Campaign).where(Campaign.state == RUNNING)).all()
    limited = [c for c in running if c.active_most is not None or c.starts_per_min is not None]
    due = select(Assignment).where(Assignment.next_push_at <= now, whose)
    free: list[ColumnElement[bool]] = [
        Assignment.campaign_id.is_(None),
        Assignment.campaign_id.in_([c.id for c in running if c not in limited]),
    ]
    for campaign in limited:
        of_campaign = Assignment.campaign_id == campaign.id
        free.append(of_campaign & Assignment.state.in_(assignment_states.ACTIVE))
    yield due.where(or_(*free)), PUSHES_MOST
    for campaign in limited:
        if (most := places(session, campaign, now)) > 0:
            beginning = Assignment.state.not_in(assignment_states.ACTIVE)
            yield due.where(Assignment.campaign_id == campaign.id, beginning), most
