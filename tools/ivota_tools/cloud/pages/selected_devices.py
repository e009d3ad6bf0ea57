"""Actions on many devices: those selected on the fleet page, all that match its search, and all
that are pending.

Each form has the ids of the devices that its user has seen, so no action includes a device that
has joined since. For devices that match a search, the page (static/selection.js) first lists all
ids, and then sends them in parts.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from ..accounts.roles import OPERATOR
from ..accounts.users import UserError
from ..rollout import bulk_actions
from ..rollout.bulk_actions import ACCEPT, PART, PUSH, RETIRE, TAG, Choice, Order, Part, Skipped
from ..store import device_acceptance, firmware_store
from ..store.device_acceptance import PENDING, PENDING_MOST
from ..store.models import Device
from . import fleet_queries
from .firmware import chosen
from .fleet_queries import Wanted
from .formatting import counted, sentence
from .packed_ids import packed, unpacked
from .page_guard import REFUSALS, acting, route
from .page_visit import Setting, Visit, whole

LISTED = 10_000  # ids in a response; static/selection.js asks until one has fewer
REASONS = 3  # that a message gives
# What the page says after an action; the template has them for selection.js, too.
DONE = {
    TAG: "Added the tag {tag} to {devices}.",
    PUSH: "Updating {devices} to {firmware}.",
    RETIRE: "Retired {devices}. Retired devices get no updates.",
}


def routes(setting: Setting) -> list[BaseRoute]:
    here = "/devices/matching"
    return [
        route(setting, "/devices/selected", acting("/", selected),
              method="POST", needed=OPERATOR),
        route(setting, here, matching, needed=OPERATOR),
        route(setting, here, act_on_part, method="POST", needed=OPERATOR),
        route(setting, "/pending/accept", acting("/", accept_pending),
              method="POST", needed=OPERATOR),
    ]  # fmt: skip


def selected(visit: Visit) -> str:
    """Apply the chosen action to the devices selected one by one."""
    ids = [whole(name[1:]) for name in visit.form if name[:1] == "d" and whole(name[1:])]
    if not ids:
        raise UserError("select devices first")
    with visit.database.reading() as session:
        found = select(Device).where(Device.id.in_(ids)).order_by(Device.id)
        names = [each.name for each in session.scalars(found)]
    chosen = Choice(
        "selected devices", {"selected": names}, lambda *_: [], "the device no longer exists"
    )
    order = _order(visit, chosen)
    part = _act(visit, order, ids)
    devices, tag = counted(part.devices, "device"), visit.said("tag")
    words = DONE[order.action].format(devices=devices, tag=tag, firmware=_version(visit))
    return _and_skipped(words, part)


def matching(visit: Visit) -> Response:
    """List the ids of the devices that match the search in the address, after the id `after`."""
    after = whole(visit.asked("after"))
    try:
        with visit.database.reading() as session:
            found = fleet_queries.listed(session, Wanted.of(visit), time.time(), after, LISTED)
    except REFUSALS as error:
        return JSONResponse({"detail": sentence(str(error))}, 422)
    return JSONResponse({"devices": [number for number, _ in found], "newest": _newest(found)})


def act_on_part(visit: Visit) -> Response:
    """Apply the chosen action to some of the listed devices that still match the search."""
    wanted, newest = Wanted.of(visit), _time(visit)

    def still(session: Session, now: float) -> Sequence[ColumnElement[bool]]:
        return [*fleet_queries.matching(session, wanted, now), fleet_queries.seen_by(newest)]

    choice = Choice("devices that match a search", {"search": wanted.words}, still)
    try:
        ids = unpacked(visit.raw("devices"), PART)
        part = _act(visit, _order(visit, choice), ids, whole(visit.sent("entry")) or None)
    except REFUSALS as error:
        return JSONResponse({"detail": sentence(str(error))}, 422)
    return JSONResponse(part._asdict())


class Pending(NamedTuple):
    """The pending devices: how many, their ids as text, and when the last was first seen."""

    number: int
    ids: str
    newest: float


def pending(session: Session, now: float) -> Pending:
    found = fleet_queries.listed(session, Wanted(state=PENDING), now, 0, PENDING_MOST)
    return Pending(len(found), packed(number for number, _ in found), _newest(found))


def accept_pending(visit: Visit) -> str:
    """Accept those of the devices on the page that are still pending."""
    newest = _time(visit)

    def still(session: Session, now: float) -> Sequence[ColumnElement[bool]]:
        return [Device.status == PENDING, fleet_queries.seen_by(newest)]

    gone = "the device is no longer pending"
    order = Order(Choice("all pending devices", {}, still, gone), ACCEPT)
    ids = unpacked(visit.raw("devices"), PENDING_MOST)
    changed, entry, skipped = 0, None, Counter[str]()
    for at in range(0, len(ids), PART):
        part = _act(visit, order, ids[at : at + PART], entry)
        changed, entry = changed + part.devices, part.entry
        skipped.update({each.reason: each.devices for each in part.skipped})
    reasons = [Skipped(count, reason) for reason, count in skipped.most_common()]
    words = _and_skipped(f"Accepted {counted(changed, 'device')}.", Part(changed, reasons, entry))
    with visit.database.reading() as session:
        more = device_acceptance.pending(session)
    are = "is" if more == 1 else "are"
    return f"{words} {counted(more, 'new device')} {are} still pending." if more else words


def _order(visit: Visit, choice: Choice) -> Order:
    action, tag = visit.sent("do"), visit.said("tag")
    if action == TAG and not tag:
        raise UserError("enter a tag")
    if action == TAG:
        return Order(choice, TAG, add=[tag])
    if action == PUSH:
        return Order(choice, PUSH, firmware_id=chosen(visit))
    if action == RETIRE:
        return Order(choice, RETIRE)
    raise UserError("choose what to do with the selected devices")


def _act(visit: Visit, order: Order, ids: Sequence[int], entry: int | None = None) -> Part:
    part = bulk_actions.do_part(visit.database, order, ids, visit.who, entry)
    visit.setting.wake()
    return part


def _version(visit: Visit) -> str:
    """Return the version of the form's firmware, "" if it has none."""
    number = whole(visit.sent("firmware"))
    with visit.database.reading() as session:
        return firmware_store.find(session, None, number, None).version if number else ""


def _and_skipped(words: str, part: Part) -> str:
    for devices, reason in part.skipped[:REASONS]:
        words += f" Skipped {counted(devices, 'device')}: {reason}."
    if rest := sum(each.devices for each in part.skipped[REASONS:]):
        words += f" Skipped {counted(rest, 'device')} for other reasons."
    return words


def _newest(found: Sequence[tuple[int, float | None]]) -> float:
    return max((seen for _, seen in found if seen is not None), default=0.0)


def _time(visit: Visit) -> float:
    """Return the form's field `newest`; 0 if it is not a time."""
    try:
        newest = float(visit.said("newest", 32))
    except ValueError:
        return 0.0
    return newest if math.isfinite(newest) else 0.0
