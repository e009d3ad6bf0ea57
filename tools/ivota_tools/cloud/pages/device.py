"""One device: its status, the actions on it and its update history."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from ...common.version_order import is_older
from ..accounts.roles import OPERATOR
from ..accounts.users import UserError
from ..mqtt.report_ingestion import WITH_TARGET
from ..rollout import (
    assignment_states,
    device_actions,
    device_update_states,
    firmware_match,
    group_report_intervals,
    wait_reason,
    watchdog_reset_count,
)
from ..store import firmware_store
from ..store.models import Assignment, Change, Device, Report
from . import attempt_history
from .firmware import chosen, uploaded
from .formatting import counted
from .page_guard import acting, route
from .page_visit import Setting, Visit
from .pagination import Order, row

ATTEMPTS = 10  # on a page
REPORTS = 50  # on a page
CHANGES = 12  # of the device's version


def routes(setting: Setting) -> list[BaseRoute]:
    here = "/devices/{id}"

    def post(action: str, act: Callable[[Visit], str], back: str = here) -> BaseRoute:
        path = f"/devices/{{id:int}}/{action}"
        return route(setting, path, acting(back, act), method="POST", needed=OPERATOR)

    return [
        route(setting, "/devices/{id:int}", device),
        route(setting, "/devices/{id:int}/reports", reports),
        post("push", push),
        post("update", update, back="/"),  # the fleet's one-click update
        post("retry", retry),
        post("cancel", cancel),
        post("tags", tags),
        post("kind", kind),
        post("accept", accept),
        post("retire", retire),
        post("delete", delete, back="/"),
    ]


def device(visit: Visit) -> Response:
    now = time.time()
    with visit.database.reading() as session:
        found = find(session, visit.number("id"))
        assignment, running = found.assignment, assignment_states.running(found)
        # Do not offer the firmware that it runs.
        firmware = [
            each
            for each in uploaded(session)
            if each.version != running and not firmware_match.mismatch(each, found)
        ]
        attempts = attempt_history.attempts(found)
        page = visit.page(session, attempts, Order([Assignment.id], descending=True), ATTEMPTS)
        return visit.show(
            "device.html",
            now=now,
            device=found,
            assignment=assignment,
            stalled=device_update_states.is_stalled(assignment, now),
            why=wait_reason.why(session, found, now, on_page=True),
            firmware=firmware,
            # A downgrade must never be the preselected choice.
            must_choose=running is not None
            and not any(is_older(running, each.version) for each in firmware[:1]),
            stories=attempt_history.stories(session, found, page.rows),
            page=page,
            changes=_changes(session, found),
            interval=group_report_intervals.applying(session, found, now),
            takes_interval=group_report_intervals.understands(found),
            watchdog=watchdog_reset_count.of(session, found),
            can_retry=assignment is not None
            and assignment.state in (*device_update_states.FAILING, assignment_states.CANCELLED),
            can_cancel=assignment is not None and assignment.state not in assignment_states.CLOSED,
        )


def reports(visit: Visit) -> Response:
    """Return every report as it was received."""
    with visit.database.reading() as session:
        found = find(session, visit.number("id"))
        query = select(Report).where(Report.device_id == found.id)
        page = visit.page(session, query, Order([Report.id], descending=True), REPORTS)
        return visit.show("reports.html", device=found, reports=page.rows, page=page)


def find(session: Session, number: int) -> Device:
    found = row(session, Device, number, WITH_TARGET)
    if found is None:
        raise HTTPException(404, "This device does not exist.")
    return found


def _changes(session: Session, device: Device) -> Sequence[Change]:
    query = select(Change).where(Change.device_id == device.id).order_by(Change.id.desc())
    return session.scalars(query.limit(CHANGES)).all()


def push(visit: Visit) -> str:
    """Push the firmware selected in the form to this device."""
    with visit.database.writing() as session:
        found = find(session, visit.number("id"))
        firmware = firmware_store.find(session, None, chosen(visit), None)
        device_actions.push(session, found, firmware, visit.who)
        words = f"Updating {found.name} to {firmware.version}."
    visit.setting.wake()
    return words


def update(visit: Visit) -> str:
    """Push a newer firmware; the page with the button may be old, or submit it twice."""
    with visit.database.writing() as session:
        found = find(session, visit.number("id"))
        firmware = firmware_store.find(session, None, chosen(visit), None)
        device_actions.push_newer(session, found, firmware, visit.who)
        words = f"Updating {found.name} to {firmware.version}."
    visit.setting.wake()
    return words


def retry(visit: Visit) -> str:
    with visit.database.writing() as session:
        found = find(session, visit.number("id"))
        device_actions.retry_device(session, found, time.time(), visit.who)
        words = f"Retrying the update of {found.name}."
    visit.setting.wake()
    return words


def cancel(visit: Visit) -> str:
    with visit.database.writing() as session:
        found = find(session, visit.number("id"))
        device_actions.cancel_device(session, found, time.time(), visit.who)
        return f"The update of {found.name} is cancelled."


def tags(visit: Visit) -> str:
    """Set all tags, separated by commas or blanks."""
    given = set(visit.said("tags", 8192).replace(",", " ").split())
    with visit.database.writing() as session:
        found = find(session, visit.number("id"))
        device_actions.set_tags(session, found, given, visit.who)
        return f"{found.name} now has {counted(len(given), 'tag')}."


def kind(visit: Visit) -> str:
    """Set the application and the hardware; an empty field means unknown."""
    with visit.database.writing() as session:
        found = find(session, visit.number("id"))
        device_actions.set_kind(
            session, found, visit.said("application"), visit.said("hardware"), visit.who
        )
        return f"{found.name} was saved."


def accept(visit: Visit) -> str:
    with visit.database.writing() as session:
        found = find(session, visit.number("id"))
        device_actions.accept_device(session, found, visit.who)
        return f"{found.name} is accepted."


def retire(visit: Visit) -> str:
    with visit.database.writing() as session:
        found = find(session, visit.number("id"))
        device_actions.retire_device(session, found, visit.who)
        return f"{found.name} is retired and gets no more updates."


def delete(visit: Visit) -> str:
    try:
        name = device_actions.delete_device(visit.database, visit.number("id"), visit.who)
    except LookupError:
        raise UserError("the device was already deleted", 404) from None
    return f"{name} and its history were deleted."
