"""One device: where it stands, what can be done, and its life line."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from ..accounts.audit_log import note
from ..accounts.roles import OPERATOR
from ..accounts.users import UserError
from ..mqtt.report_ingestion import WITH_TARGET
from ..rollout import assignment_rules, campaign_actions, wait_reason
from ..rollout.assignment import assign, touch
from ..store.firmware_store import FirmwareError
from ..store.models import TAG_MOST, Assignment, Change, Device, DeviceTag, Firmware, Report
from . import fleet_queries
from .firmware import uploaded
from .formatting import counted
from .pagination import row
from .request_context import Setting, Visit, whole
from .routing import acting, route
from .update_history import stories

ATTEMPTS = 10  # on a page
REPORTS = 50  # on a page
CHANGES = 12  # of its version
TAGS_MOST = 100


def routes(setting: Setting) -> list[BaseRoute]:
    here = "/devices/{id}"

    def post(action: str, act: Callable[[Visit], str], back: str = here) -> BaseRoute:
        path = f"/devices/{{id:int}}/{action}"
        return route(setting, path, acting(back, act), method="POST", needed=OPERATOR)

    return [
        route(setting, "/devices/{id:int}", device),
        route(setting, "/devices/{id:int}/reports", reports),
        post("push", push),
        post("update", push, back="/"),  # by one click among all devices
        post("retry", retry),
        post("cancel", cancel),
        post("tags", tags),
    ]


def device(visit: Visit) -> Response:
    now = time.time()
    with visit.database.reading() as session:
        found = find(session, visit.number("id"))
        assignment = found.assignment
        attempts = select(func.count()).where(Assignment.device_id == found.id)
        page = visit.page(session.scalar(attempts), ATTEMPTS)
        return visit.show(
            "device.html",
            now=now,
            device=found,
            assignment=assignment,
            stalled=fleet_queries.is_stalled(assignment, now),
            why=wait_reason.why(session, found, now),
            # What it runs is not offered.
            firmware=[each for each in uploaded(session) if each.version != found.version],
            stories=stories(session, found, page),
            page=page,
            changes=_changes(session, found),
            can_retry=assignment is not None
            and assignment.state in (*fleet_queries.FAILING, assignment_rules.CANCELLED),
            can_cancel=assignment is not None and assignment.state not in assignment_rules.CLOSED,
        )


def reports(visit: Visit) -> Response:
    """Every report, as it came."""
    with visit.database.reading() as session:
        found = find(session, visit.number("id"))
        count = session.scalar(select(func.count()).where(Report.device_id == found.id))
        page = visit.page(count, REPORTS)
        query = select(Report).where(Report.device_id == found.id).order_by(Report.id.desc())
        rows = session.scalars(page.of(query)).all()
        return visit.show("reports.html", device=found, reports=rows, page=page)


def find(session: Session, number: int) -> Device:
    found = row(session, Device, number, WITH_TARGET)
    if found is None:
        raise HTTPException(404, "There is no such device.")
    return found


def _changes(session: Session, device: Device) -> Sequence[Change]:
    query = select(Change).where(Change.device_id == device.id).order_by(Change.id.desc())
    return session.scalars(query.limit(CHANGES)).all()


def push(visit: Visit) -> str:
    """The firmware that the form names, for this device."""
    with visit.database.writing() as session:
        found = find(session, visit.number("id"))
        firmware = row(session, Firmware, whole(visit.said("firmware")))
        if firmware is None:
            raise FirmwareError(404, "that firmware is gone")
        assign(session, found, firmware, time.time(), None)
        note(session, visit.who, "push", found.name, version=firmware.version)
        words = f"{found.name} is being updated to {firmware.version}."
    visit.setting.wake()
    return words


def retry(visit: Visit) -> str:
    with visit.database.writing() as session:
        found = find(session, visit.number("id"))
        campaign_actions.retry_device(session, found, time.time(), visit.who)
        words = f"{found.name} is tried again."
    visit.setting.wake()
    return words


def cancel(visit: Visit) -> str:
    with visit.database.writing() as session:
        found = find(session, visit.number("id"))
        campaign_actions.cancel_device(session, found, time.time(), visit.who)
        return f"The update of {found.name} is cancelled: no push goes out any more."


def tags(visit: Visit) -> str:
    """All of them, with commas or blanks in between."""
    given = sorted({each for each in visit.said("tags", 8192).replace(",", " ").split() if each})
    if len(given) > TAGS_MOST or any(len(each) > TAG_MOST for each in given):
        raise UserError(f"a device has at most {TAGS_MOST} tags of {TAG_MOST} characters")
    if not all(each.isprintable() for each in given):
        raise UserError("a tag has no control characters")
    with visit.database.writing() as session:
        found = find(session, visit.number("id"))
        session.execute(delete(DeviceTag).where(DeviceTag.device_id == found.id))
        session.add_all(DeviceTag(device_id=found.id, tag=each) for each in given)
        touch(session, found)
        note(session, visit.who, "device tag", found.name, tags=given)
        return f"{found.name} has {counted(len(given), 'tag')}."
