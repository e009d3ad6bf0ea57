"""An operator's action on many devices, in parts: those that match a query, or were chosen on a
page.

Whoever asks lists the devices first, so that the action never includes one that has joined since.
A part is one transaction over some of them, so that reports never wait for the whole fleet; it
acts on those that still match. All parts of an action share one entry of the audit log, which has
the number of devices that have been changed. Repeating a part changes nothing, so an interrupted
action can start again.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from ..accounts import audit_log
from ..mqtt.report_ingestion import WITH_TARGET
from ..store import device_acceptance, device_lock, firmware_store
from ..store.database import Database
from ..store.device_acceptance import ACCEPTED, PENDING, RETIRED
from ..store.models import Assignment, Audit, Device, Firmware
from . import (
    assignment_states,
    device_actions,
    device_chip,
    device_query,
    device_update_states,
    firmware_match,
)
from .device_actions import TagError, UpdateStateError

PART = 500  # devices
TAG, PROPERTIES, RETIRE, DELETE = "tag", "properties", "retire", "delete"
PUSH, RETRY, CANCEL, ACCEPT = "push", "retry", "cancel", "accept"
SUBJECT = "devices that match a query"  # in the audit log

# The states of an update that an action is for. A cancelled update is not retried: somebody has
# decided against it.
_STATES = {RETRY: device_update_states.FAILING, CANCEL: assignment_states.UNFINISHED}

NO_MATCH = "the device no longer matches"
SAME = "nothing to change"
KEPT = "the device was accepted again during the deletion"


@dataclass(frozen=True)
class Choice:
    """Devices that were chosen on a page, without a query.

    subject     what the audit log calls them
    detail      what the audit log has about them
    conditions  the conditions that they must still meet, at the given time; may raise QueryError
    gone        why a device that does not meet them is skipped
    """

    subject: str
    detail: Mapping[str, object]
    conditions: Callable[[Session, float], Sequence[ColumnElement[bool]]]
    gone: str = NO_MATCH


@dataclass(frozen=True)
class Order:
    """An action: add and remove tags, set application and hardware, push a firmware, retry or
    cancel updates, accept pending devices, retire, or delete.

    It is for the devices that match `query`, or for those of a Choice. None keeps the application
    or the hardware, "" means unknown.
    """

    query: str | Choice
    action: str
    add: Sequence[str] = ()
    remove: Sequence[str] = ()
    application: str | None = None
    hardware: str | None = None
    firmware_id: int | None = None
    include_mismatched: bool = False

    def check(self) -> None:
        """Raise QueryError or TagError if the order is incomplete or contradicts itself."""
        if isinstance(self.query, str):
            device_query.expect_words(self.query)
        tags, kind = bool(self.add or self.remove), (self.application, self.hardware)
        if tags != (self.action == TAG):
            raise TagError(
                f"the action {TAG!r} needs tags to add or remove; no other action accepts them"
            )
        if (kind != (None, None)) != (self.action == PROPERTIES):
            raise TagError(
                f"the action {PROPERTIES!r} needs application or hardware; no other action "
                "accepts them"
            )
        if (self.firmware_id is not None) != (self.action == PUSH):
            raise TagError(f"the action {PUSH!r} needs firmware_id; no other action accepts it")

    @property
    def subject(self) -> str:
        """Return what the audit log calls the devices."""
        return SUBJECT if isinstance(self.query, str) else self.query.subject

    def detail(self, firmware: Firmware | None) -> dict[str, object]:
        """Return what the audit log has about the order."""
        devices = {"query": self.query} if isinstance(self.query, str) else self.query.detail
        return {
            **devices,
            "add": list(self.add) or None,
            "remove": list(self.remove) or None,
            "application": self.application,
            "hardware": self.hardware,
            "version": firmware.version if firmware else None,
            "firmware_id": self.firmware_id,
            "include_mismatched": self.include_mismatched or None,
        }


class Skipped(NamedTuple):
    """How many devices a part has not changed for the same reason."""

    devices: int
    reason: str


class Part(NamedTuple):
    """What a part has done.

    devices  how many it has changed
    skipped  how many it has not, most first
    entry    the id of the action's entry in the audit log; None if nothing has changed so far
    """

    devices: int
    skipped: list[Skipped]
    entry: int | None


def audited(action: str) -> str:
    """Return an action's name in the audit log."""
    return PUSH if action == PUSH else f"device {action}"


def matching(session: Session, query: str, action: str, now: float) -> list[ColumnElement[bool]]:
    """Return the conditions for the devices that match and that the action is for.

    Raises QueryError.
    """
    status = PENDING if action == ACCEPT else ACCEPTED
    found = device_query.of_status(session, query, now, status)
    if action in _STATES:
        of_states = Assignment.current, Assignment.state.in_(_STATES[action])
        found.append(Device.id.in_(select(Assignment.device_id).where(*of_states)))
    return found


def ids(session: Session, query: str, action: str, after: int, limit: int) -> Sequence[int]:
    """Return the ids of these devices: at most `limit` after the id `after`.

    Raises QueryError.
    """
    device_query.expect_words(query)
    which = matching(session, query, action, time.time())
    found = device_query.by_id(session, query, which, after, limit)
    return session.scalars(found.with_only_columns(Device.id)).all()


def do_part(
    database: Database, order: Order, ids: Collection[int], who: str, entry: int | None = None
) -> Part:
    """Act on those of these devices that still match; `entry` is that of the earlier parts.

    Raises QueryError, TagError and FirmwareError; then nothing of the part has changed.
    """
    order.check()
    now = time.time()
    skipped: Counter[str] = Counter()
    with database.writing() as session:
        firmware = None
        if order.firmware_id is not None:
            firmware = firmware_store.find(session, None, order.firmware_id, None)
        still, gone = _still(session, order, now)
        locked = device_lock.lock(session, Device.id.in_(ids), *still)
        skipped[gone] = len(set(ids)) - len(locked)
        query = select(Device).where(Device.id.in_(locked)).order_by(Device.id)
        for device in session.scalars(query.options(*WITH_TARGET)).all():
            if reason := _change(session, order, device, firmware, now):
                skipped[reason] += 1
        changed = len(set(ids)) - skipped.total()
        if changed:
            entry = _note(session, order, order.detail(firmware), who, entry, changed)
    if order.action == DELETE and locked:
        device_acceptance.remove(database, locked)
        with database.reading() as session:
            kept = select(func.count()).select_from(Device).where(Device.id.in_(locked))
            skipped[KEPT] = session.scalar(kept) or 0
    reasons = [Skipped(count, reason) for reason, count in skipped.most_common() if count]
    return Part(changed - skipped[KEPT], reasons, entry)


def _still(
    session: Session, order: Order, now: float
) -> tuple[Sequence[ColumnElement[bool]], str]:
    """Return the conditions that devices must still meet, and why others are skipped."""
    if isinstance(order.query, str):
        return matching(session, order.query, order.action, now), NO_MATCH
    return order.query.conditions(session, now), order.query.gone


def _change(
    session: Session, order: Order, device: Device, firmware: Firmware | None, now: float
) -> str | None:
    """Change a device; return the reason if it is skipped instead."""
    if order.action == RETIRE and device.status == RETIRED:
        return SAME
    if order.action in (RETIRE, DELETE):  # a device must not report while it is deleted
        device_actions.retire_device(session, device, who=None)
    elif order.action == TAG:
        return _tag(session, order, device)
    elif order.action == PROPERTIES:
        given = (order.application, device.application), (order.hardware, device.hardware)
        if all(new is None or (new or None) == old for new, old in given):
            return SAME
        device_actions.set_kind(session, device, order.application, order.hardware, who=None)
    elif order.action == ACCEPT:
        device_actions.accept_device(session, device, who=None)
    elif firmware is not None:
        return _push(session, order, device, firmware)
    else:
        act = (
            device_actions.retry_device if order.action == RETRY else device_actions.cancel_device
        )
        try:
            act(session, device, now, who=None)
        except UpdateStateError:  # it has ended, or begun, while this waited for the lock
            return NO_MATCH
    return None


def _tag(session: Session, order: Order, device: Device) -> str | None:
    old = {each.tag for each in device.tags}
    tags = (old | set(order.add)) - set(order.remove)
    if tags == old:
        return SAME
    try:
        device_actions.set_tags(session, device, tags, who=None)
    except TagError as error:
        raise TagError(f"{device.name}: {error}") from None
    return None


def _push(session: Session, order: Order, device: Device, firmware: Firmware) -> str | None:
    """Set the target, unless the device is on the way to it: a push would start again."""
    if device.status != ACCEPTED:
        return f"the device is {device.status}"
    attempt = device.assignment
    if attempt and attempt.state in assignment_states.UNFINISHED:
        if attempt.firmware_id == firmware.id:
            return f"the device is already being updated to {firmware.version}"
    elif assignment_states.running(device) == firmware.version:
        return f"the device already runs {firmware.version}"
    if order.include_mismatched:
        unfit = device_chip.mismatch(firmware, device)
    else:
        unfit = firmware_match.mismatch(firmware, device, "the device")
    if unfit:
        return unfit
    device_actions.push(session, device, firmware, None, order.include_mismatched)
    return None


def _note(
    session: Session,
    order: Order,
    detail: dict[str, object],
    who: str,
    number: int | None,
    changed: int,
) -> int:
    """Write the entry, or add the part to it; return its id. Raises TagError."""
    action = audited(order.action)
    if number is None:
        entry = audit_log.note(session, who, action, order.subject, **detail, devices=changed)
        session.flush()
        return entry.id
    found = session.get(Audit, number, with_for_update=True)
    said = json.loads(found.detail) if found and found.subject == order.subject else {}
    before = said.pop("devices", 0)
    same = audit_log.as_text(said) == audit_log.as_text(detail)
    if not found or not same or (found.who, found.action) != (who[:128], action):
        raise TagError(f"entry {number} of the audit log does not belong to this action")
    found.detail = audit_log.as_text({**detail, "devices": before + changed})
    return number
