"""An operator's action on all devices that match a query, in parts.

A part is one transaction over some devices in the order of their ids, so that reports never wait
for the whole fleet. All parts of an action share one entry of the audit log, which has the number
of devices that have been changed. Repeating a part changes nothing, so an interrupted action can
start again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..accounts import audit_log
from ..mqtt.report_ingestion import WITH_TARGET
from ..store import device_acceptance, device_lock
from ..store.database import Database
from ..store.device_acceptance import StatusError
from ..store.models import Audit, Device
from . import device_actions, device_query
from .device_actions import TagError

PART = 500  # devices
TAG, PROPERTIES, RETIRE, DELETE = "tag", "properties", "retire", "delete"
SUBJECT = "devices that match a query"  # in the audit log


@dataclass(frozen=True)
class Order:
    """An action: add and remove tags, set application and hardware, retire, or delete.

    None keeps the application or the hardware, "" means unknown.
    """

    query: str
    action: str
    add: Sequence[str] = ()
    remove: Sequence[str] = ()
    application: str | None = None
    hardware: str | None = None

    def check(self) -> None:
        """Raise QueryError or TagError if the order is incomplete or contradicts itself."""
        device_query.expect_words(self.query)
        tags, kind = bool(self.add or self.remove), (self.application, self.hardware)
        if tags != (self.action == TAG):
            raise TagError("only the action tag needs tags to add or remove")
        if (kind != (None, None)) != (self.action == PROPERTIES):
            raise TagError("only the action properties needs an application or hardware")

    def detail(self) -> dict[str, object]:
        """Return what the audit log has about the order."""
        return {
            "query": self.query,
            "add": list(self.add) or None,
            "remove": list(self.remove) or None,
            "application": self.application,
            "hardware": self.hardware,
        }


class Part(NamedTuple):
    """What a part has done.

    devices  how many it has changed; those that were as ordered before do not count
    after    the last id: the next part continues after it
    more     whether there may be a next part
    entry    the id of the action's entry in the audit log; None if nothing has changed so far
    """

    devices: int
    after: int
    more: bool
    entry: int | None


def do_part(
    database: Database,
    order: Order,
    who: str,
    *,
    after: int = 0,
    entry: int | None = None,
    expected: int | None = None,
    most: int = PART,
) -> Part:
    """Act on the next devices that match, at most `most`; `entry` is that of the earlier parts.

    Raises QueryError, TagError, and StatusError unless `expected` devices match.
    """
    order.check()
    now = time.time()
    with database.reading() as session:
        if expected is not None:
            count = device_query.count(session, order.query, now)
            if count != expected:
                raise StatusError(
                    f"the number of devices that match {order.query!r} has changed from "
                    f"{expected} to {count}; nothing was changed"
                )
        most = min(most, PART)
        ids = device_query.ids(session, order.query, now, after, most)
    if not ids:
        return Part(0, after, False, entry)
    with database.writing() as session:
        # Some may have changed since, and no longer match.
        still = device_query.accepted(session, order.query, now)
        locked = device_lock.lock(session, Device.id.in_(ids), *still)
        changed = _act(session, order, locked)
        if changed:
            entry = _note(session, order, who, entry, changed)
    if order.action == DELETE and locked:
        device_acceptance.remove(database, locked)
    return Part(changed, ids[-1], len(ids) == most, entry)


def _act(session: Session, order: Order, ids: Sequence[int]) -> int:
    """Change the devices; return how many were not as ordered."""
    query = select(Device).where(Device.id.in_(ids)).order_by(Device.id).options(*WITH_TARGET)
    return sum(_change(session, order, device) for device in session.scalars(query).all())


def _change(session: Session, order: Order, device: Device) -> bool:
    if order.action in (RETIRE, DELETE):  # a device must not report while it is deleted
        device_actions.retire_device(session, device, who=None)
        return True
    if order.action == TAG:
        old = {each.tag for each in device.tags}
        tags = (old | set(order.add)) - set(order.remove)
        if tags == old:
            return False
        try:
            device_actions.set_tags(session, device, tags, who=None)
        except TagError as error:
            raise TagError(f"{device.name}: {error}") from None
        return True
    given = (order.application, device.application), (order.hardware, device.hardware)
    if all(new is None or (new or None) == old for new, old in given):
        return False
    device_actions.set_kind(session, device, order.application, order.hardware, who=None)
    return True


def _note(session: Session, order: Order, who: str, number: int | None, changed: int) -> int:
    """Write the entry, or add the part to it; return its id. Raises TagError."""
    action, detail = f"device {order.action}", order.detail()
    if number is None:
        entry = audit_log.note(session, who, action, SUBJECT, **detail, devices=changed)
        session.flush()
        return entry.id
    found = session.get(Audit, number, with_for_update=True)
    said = json.loads(found.detail) if found and found.subject == SUBJECT else {}
    before = said.pop("devices", 0)
    same = audit_log.as_text(said) == audit_log.as_text(detail)
    if not found or not same or (found.who, found.action) != (who[:128], action):
        raise TagError(f"entry {number} of the audit log does not belong to this action")
    found.detail = audit_log.as_text({**detail, "devices": before + changed})
    return number
