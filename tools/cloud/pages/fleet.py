"""The fleet: versions over time, what is happening, what needs a look, and every device."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import case, func, or_, select, true
from sqlalchemy.orm import Session, joinedload
from starlette.responses import Response
from starlette.routing import BaseRoute

from .. import counts, explain, rollout, stages
from ..assign import assign
from ..audit import note
from ..firmware import FirmwareError
from ..models import Assignment, Campaign, Device, Firmware
from ..roles import OPERATOR
from ..versions import is_older
from . import chart, looking
from .frame import Setting, Visit, acting, route, row, whole
from .looking import ATTENTION, STALLED, Wanted

SHOWN = 6  # devices in a box above the table
GROUPS, NAMED = 5, 3  # of devices in trouble, and how many of each are named
RUNNING_SHOWN = 4


def routes(setting: Setting) -> list[BaseRoute]:
    return [
        route(setting, "/", fleet),
        route(setting, "/devices/{id:int}/update", acting("/", update), method="POST",
              needed=OPERATOR),
    ]  # fmt: skip


def fleet(visit: Visit) -> Response:
    now = time.time()
    wanted = Wanted(
        visit.asked("q"),
        visit.asked("state", most=16),
        visit.asked("version", most=128),
        visit.asked("sort", ATTENTION, 16),
        visit.page(),
    )
    span = visit.asked("range", chart.DEFAULT, 8)
    with visit.database.reading() as session:
        counts = looking.by_version(session)
        total = sum(count for _, count in counts)
        newest = looking.newest(session)
        if not total:
            return visit.show("welcome.html", newest=newest, **first_steps(visit))
        states = looking.by_state(session, now)
        found = looking.devices(session, wanted, now)
        return visit.show(
            "fleet.html",
            now=now,
            total=total,
            versions=counts,
            states=states,
            idle=total - sum(states.values()),
            summary=_summary(total, states),
            chart=visit.setting.charts.versions(session, span, now),
            span=span if span in chart.RANGES else chart.DEFAULT,
            ranges=chart.RANGES,
            running=_running(session),
            busy=looking.few(session, Assignment.state.in_(rollout.ACTIVE)
                             & ~looking.stalled(now), Assignment.device_id, SHOWN),
            troubled=_troubled(session, now),
            wanted=wanted,
            query=looking.as_query(wanted),
            sorts=looking.SORTS,
            found=found,
            newest=newest[0] if len(newest) == 1 else None,
            reason=lambda device: reason(device, now),
            stalled=lambda device: looking.is_stalled(device.assignment, now),
            can_update=can_update,
        )  # fmt: skip


def first_steps(visit: Visit) -> dict[str, Any]:
    host, port = visit.setting.mqtt()
    return {
        "mqtt_host": host,
        "mqtt_port": port,
        "tls": visit.setting.tls,
        "sign_in": visit.setting.sign_in,
    }


def can_update(device: Device, newest: Firmware | None) -> bool:
    """Whether one click brings it something newer."""
    if newest is None or device.version is None:
        return False
    assignment = device.assignment
    if assignment and assignment.state not in rollout.CLOSED:
        return False
    return is_older(device.version, newest.version)


def update(visit: Visit) -> str:
    """One click: the firmware that the button names, for one device."""
    from ..api import device_by_id

    with visit.database.writing() as session:
        device = device_by_id(session, visit.number("id"))
        firmware = row(session, Firmware, whole(visit.said("firmware")))
        if firmware is None:
            raise FirmwareError(404, "that firmware is gone")
        assign(session, device, firmware, time.time(), None)
        note(session, visit.who, "push", device.name, version=firmware.version)
        words = f"{device.name} is being updated to {firmware.version}."
    visit.setting.wake()
    return words


def reason(device: Device, now: float) -> str:
    """Why a device is not there yet, in a few words; the device's page has the whole story."""
    assignment = device.assignment
    if assignment is None:
        return ""
    if assignment.state in (rollout.FAILED, rollout.RETRY):
        words = explain.why_failed(assignment)
        if assignment.state == rollout.RETRY and assignment.next_push_at:
            from .words import ago

            words += f"; next try {ago(assignment.next_push_at, now)}"
        return words
    if looking.is_stalled(assignment, now):
        from .words import span

        return f"nothing heard of it for {span(now - assignment.updated_at)}"
    if assignment.state == rollout.DONE and device.version != assignment.firmware.version:
        return f"done, but it reports {device.version}"
    return ""


def _summary(total: int, states: dict[str, int]) -> dict[str, int]:
    """The figures above all else."""
    return {
        "total": total,
        "fine": sum(states.get(state, 0) for state in looking.FINE),
        "way": sum(states.get(state, 0) for state in looking.OPEN),
        "trouble": states.get(rollout.FAILED, 0) + states.get(rollout.RETRY, 0)
        + states.get(STALLED, 0),
    }  # fmt: skip


def _troubled(session: Session, now: float) -> list[dict[str, Any]]:
    """Failed ones first, then the silent, then those that are tried again; by their reason."""
    silent = case((looking.stalled(now), 1), else_=0).label("silent")
    columns = (Assignment.state, silent, Assignment.result_code, Assignment.result_msg)
    troubled = (
        select(*columns, func.count().label("number"), func.min(Assignment.id).label("first"))
        .where(Assignment.current, Assignment.state.in_(looking.TROUBLES))
        .where(or_(looking.stalled(now), Assignment.state.in_(looking.FAILING)))
        .group_by(*columns)
    )
    rows: list[Any] = list(session.execute(troubled))
    rank = {rollout.FAILED: 0, rollout.RETRY: 2}
    rows = sorted(rows, key=lambda row: (rank.get(row.state, 1), -row.number, row.first))[:GROUPS]
    return [_group(session, row, now) for row in rows]


def _group(session: Session, row: Any, now: float) -> dict[str, Any]:
    """Some of its devices by name, and why they are there."""
    same = (
        Assignment.current,
        Assignment.state == row.state,
        Assignment.result_code.is_not_distinct_from(row.result_code),
        Assignment.result_msg.is_not_distinct_from(row.result_msg),
    )
    named = (
        select(Assignment, Device.device_name)
        .join(Device, Device.id == Assignment.device_id)
        .where(*same, looking.stalled(now) if row.silent else true())
        .order_by(Assignment.id)
        .limit(NAMED)
    )
    found = session.execute(named).tuples().all()
    reason = "in their download, but nothing was heard of them for a while"
    if row.state in looking.FAILING and found:
        reason = explain.why_failed(found[0][0])
    return {
        "state": row.state,
        "stalled": bool(row.silent),
        "count": row.number,
        "reason": reason,
        "devices": [(attempt.device_id, name) for attempt, name in found],
    }


def _running(session: Session) -> list[dict[str, Any]]:
    """Campaigns that are not over, newest first."""
    query = (
        select(Campaign)
        .where(or_(Campaign.state.in_((stages.RUNNING, stages.PAUSED, stages.STOPPED))))
        .options(joinedload(Campaign.firmware))
        .order_by(Campaign.id.desc())
        .limit(RUNNING_SHOWN)
    )
    return [
        {"campaign": each, "tally": sum(counts.tally(session, each), stages.Tally())}
        for each in session.scalars(query)
    ]
