"""The fleet: versions over time, what is happening, what needs a look, and every device."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import case, func, or_, select, true
from sqlalchemy.orm import Session, joinedload
from starlette.responses import Response
from starlette.routing import BaseRoute

from .. import counts, explain, rollout, stages
from ..models import Assignment, Campaign, Device, Firmware
from ..versions import is_older
from . import chart, looking, search
from .looking import ATTENTION, STALLED, Wanted
from .routing import route
from .visit import Setting, Visit, whole
from .words import ago
from .words import span as span_words

SHOWN = 6  # devices in a box above the table
GROUPS, NAMED = 5, 3  # of devices in trouble, and how many of each are named
RUNNING_SHOWN = 4


def routes(setting: Setting) -> list[BaseRoute]:
    return [route(setting, "/", fleet)]


def fleet(visit: Visit) -> Response:
    now = time.time()
    wanted = Wanted(
        visit.asked("q"),
        visit.asked("state", most=16),
        visit.asked("version", most=128),
        visit.asked("sort", ATTENTION, 16),
        whole(visit.asked("page")),
    )
    span = visit.asked("range", chart.DEFAULT, 8)
    with visit.database.reading() as session:
        versions = looking.by_version(session)
        total = sum(count for _, count in versions)
        newest = looking.newest(session)
        if not total:
            return visit.show("welcome.html", newest=newest)
        states = looking.by_state(session, now)
        found = looking.devices(session, wanted, now)
        return visit.show(
            "fleet.html",
            now=now,
            total=total,
            versions=versions,
            summary=_summary(total, states),
            chart=visit.setting.charts.versions(session, span, now),
            span=span if span in chart.RANGES else chart.DEFAULT,
            ranges=chart.RANGES,
            running=_running(session),
            busy=looking.few(session, Assignment.state.in_(rollout.ACTIVE)
                             & ~looking.stalled(now), Assignment.device_id, SHOWN),
            troubled=_troubled(session, now),
            wanted=wanted,
            query=search.as_query(wanted.text, wanted.version),
            sorts=looking.SORTS,
            found=found,
            newest=newest[0] if len(newest) == 1 else None,
            reason=lambda device: reason(device, now),
            stalled=lambda device: looking.is_stalled(device.assignment, now),
            can_update=can_update,
        )  # fmt: skip


def can_update(device: Device, newest: Firmware | None) -> bool:
    """Whether one click brings it something newer."""
    if newest is None or device.version is None:
        return False
    assignment = device.assignment
    if assignment and assignment.state not in rollout.CLOSED:
        return False
    return is_older(device.version, newest.version)


def reason(device: Device, now: float) -> str:
    """Why a device is not there yet, in a few words; the device's page has the whole story."""
    assignment = device.assignment
    if assignment is None:
        return ""
    if assignment.state in looking.FAILING:
        words = explain.why_failed(assignment)
        if assignment.state == rollout.RETRY and assignment.next_push_at:
            words += f"; next try {ago(assignment.next_push_at, now)}"
        return words
    if looking.is_stalled(assignment, now):
        return f"nothing heard of it for {span_words(now - assignment.updated_at)}"
    if assignment.state == rollout.DONE and device.version != assignment.firmware.version:
        return f"done, but it reports {device.version}"
    return ""


def _summary(total: int, states: dict[str, int]) -> dict[str, int]:
    """The figures above all else."""
    return {
        "total": total,
        "fine": sum(states.get(state, 0) for state in looking.FINE),
        "way": sum(states.get(state, 0) for state in looking.OPEN),
        "trouble": sum(states.get(state, 0) for state in (*looking.FAILING, STALLED)),
    }


def _troubled(session: Session, now: float) -> list[dict[str, Any]]:
    """Failed ones first, then the silent, then those that are tried again; by their reason."""
    silent = case((looking.stalled(now), 1), else_=0).label("silent")
    columns = (Assignment.state, silent, Assignment.result_code, Assignment.result_msg)
    troubled = (
        select(*columns, func.count().label("number"), func.min(Assignment.id).label("first"))
        # The states are there for the index.
        .where(Assignment.current, Assignment.state.in_((*looking.FAILING, *rollout.ACTIVE)))
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
    reason = "in mid-update, but nothing was heard for a while"
    if row.state in looking.FAILING and found:
        reason = explain.why_failed(found[0][0])
    return {
        "state": row.state,
        "stalled": bool(row.silent),
        "count": row.number,
        "reason": reason,
        "devices": [(attempt.device_id, name) for attempt, name in found],
    }


def _running(session: Session) -> list[tuple[Campaign, stages.Tally]]:
    """Campaigns that are not over, newest first, and how far each is."""
    query = (
        select(Campaign)
        .where(Campaign.state.in_((stages.RUNNING, stages.PAUSED, stages.STOPPED)))
        .options(joinedload(Campaign.firmware))
        .order_by(Campaign.id.desc())
        .limit(RUNNING_SHOWN)
    )
    found = session.scalars(query).all()
    tallies = counts.tallies(session, [each.id for each in found])
    return [(each, tallies.get(each.id, stages.Tally())) for each in found]
