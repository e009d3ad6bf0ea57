"""The fleet: versions over time, running updates, devices that need attention, all devices."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, func, or_, select, true
from sqlalchemy.orm import Session, joinedload
from starlette.responses import Response
from starlette.routing import BaseRoute

from ...common.version_order import is_older, key
from ..rollout import (
    assignment_states,
    campaign_counts,
    campaign_rules,
    device_update_states,
    firmware_match,
    wait_reason,
)
from ..rollout.bulk_actions import PART
from ..rollout.device_update_states import STALLED
from ..store.device_acceptance import ACCEPTED, PENDING
from ..store.models import Assignment, Campaign, Device, Firmware
from . import device_search, fleet_queries, selected_devices, version_chart
from .firmware import uploaded
from .fleet_queries import Wanted
from .formatting import ago
from .formatting import span as span_words
from .page_guard import route
from .page_visit import Setting, Visit

SHOWN = 4  # devices in a box next to the table
GROUPS, NAMED = 5, 3  # groups of devices with problems, and names shown for each
RUNNING_SHOWN = 4
CRASHED = "crashed in its trial, "  # the exception after it is more important in a narrow column
FIRMWARE_SHOWN = 50  # choices for selected devices


def routes(setting: Setting) -> list[BaseRoute]:
    return [route(setting, "/", fleet)]


def fleet(visit: Visit) -> Response:
    now = time.time()
    wanted = Wanted.of(visit)
    span = visit.asked("range", "", 8)
    with visit.database.reading() as session:
        counts = visit.setting.counts.of(session)
        applications = counts.get("applications", fleet_queries.applications)
        # The numbers are cached for each of these queries, so a request must not invent another
        # one.
        application = wanted.application if wanted.application in applications else ""
        known = counts.get(
            ("fleet", application), lambda s: _numbers(s, application, applications)
        )
        total, waiting, versions = known.total, known.waiting, known.versions
        newest = fleet_queries.newest(session)
        if not total and not waiting and not wanted.state:
            return visit.show("welcome.html", newest=newest)
        ranges = version_chart.ranges(version_chart.changes(session).first, now)
        if span not in version_chart.RANGES:
            span = ranges[-1]
        several = not application and len(applications) > 1
        found = fleet_queries.devices(session, wanted, now, counts)
        return visit.show(
            "fleet.html",
            now=now,
            total=total,
            waiting=waiting,
            pending=lambda: selected_devices.pending(session, now),
            done=selected_devices.DONE,
            part=PART,
            listed=selected_devices.LISTED,
            versions=versions,
            applications=applications,
            summary=_summary(total, known.states),
            chart=counts.get(
                ("chart", span, application, several),
                lambda s: visit.setting.charts.versions(
                    s, version_chart.changes(s), span, time.time(), application or None, several
                ),
            ),
            span=span,
            suggestions=known.suggestions,
            firmware=uploaded(session)[:FIRMWARE_SHOWN],
            ranges=ranges,
            several=len(applications) > 1,
            running=_running(session),
            busy=fleet_queries.few(session, Assignment.state.in_(assignment_states.ACTIVE)
                             & ~device_update_states.stalled(now), Assignment.device_id, SHOWN),
            troubled=known.troubled,
            wanted=wanted,
            query=device_search.as_query(wanted.text, wanted.version, wanted.application),
            found=found,
            newest_for=lambda device: newest_for(device, newest),
            any_newest=bool(newest),
            reason=lambda device: reason(device, now),
            stalled=lambda device: device_update_states.is_stalled(device.assignment, now),
            can_update=can_update,
        )  # fmt: skip


@dataclass(frozen=True)
class _Numbers:
    """The page's counts of the whole fleet."""

    total: int
    waiting: int
    versions: list[tuple[str | None, int]]
    states: dict[str, int]
    suggestions: list[str]
    troubled: list[dict[str, Any]]


def _numbers(session: Session, application: str, applications: list[str]) -> _Numbers:
    now = time.time()
    versions = fleet_queries.by_version(session, application)
    return _Numbers(
        fleet_queries.count(session, ACCEPTED),
        fleet_queries.count(session, PENDING),
        versions,
        fleet_queries.by_state(session, now),
        fleet_queries.suggestions(session, versions, applications),
        _troubled(session, now),
    )


def newest_for(device: Device, newest: list[Firmware]) -> Firmware | None:
    """Return the newest firmware for the device's application, hardware and chip. If one of them
    is unknown, firmware for a certain one counts only if there is none for another.
    """
    found = newest
    if device.application is not None:
        found = [each for each in found if each.application == device.application]
    elif len({each.application for each in found}) > 1:
        return None
    found = [each for each in found if not firmware_match.mismatch(each, device)]
    if len({each.hardware.lower() for each in found if each.hardware}) > 1:
        found = [each for each in found if not each.hardware]
    if len({each.chip for each in found if each.chip}) > 1:
        found = [each for each in found if not each.chip]
    return max(found, key=lambda each: (key(each.version), each.id), default=None)


def can_update(device: Device, newest: Firmware | None) -> bool:
    """Return whether one click can push newer firmware to the device."""
    running = assignment_states.running(device)
    if newest is None or running is None:
        return False
    assignment = device.assignment
    if assignment and assignment.state not in assignment_states.CLOSED:
        return False
    return is_older(running, newest.version)


def reason(device: Device, now: float) -> str:
    """Say in a few words why a device is not up to date; the device's page has the details."""
    assignment = device.assignment
    if assignment is None:
        return ""
    if assignment.state in device_update_states.FAILING:
        words = wait_reason.why_failed(assignment).removeprefix(CRASHED)
        # It has passed if the campaign has stopped, or the device does not report.
        if assignment.state == assignment_states.RETRY and (assignment.next_push_at or 0) > now:
            words += f"; next retry {ago(assignment.next_push_at, now)}"
        return words
    if assignment.unasked:
        return "no device has requested the file since the push"
    if device_update_states.is_stalled(assignment, now):
        return f"no report for {span_words(now - assignment.updated_at)}"
    if assignment.state == assignment_states.DONE and assignment.left_target:
        return f"done, but has since reported {device.version}"
    return ""


def _summary(total: int, states: dict[str, int]) -> dict[str, int]:
    """Return the figures at the top of the page."""
    return {
        "total": total,
        "fine": sum(states.get(state, 0) for state in device_update_states.FINE),
        "way": sum(states.get(state, 0) for state in device_update_states.OPEN),
        "trouble": sum(states.get(state, 0) for state in (*device_update_states.FAILING, STALLED)),
    }


def _troubled(session: Session, now: float) -> list[dict[str, Any]]:
    """Group devices by reason: first failed, then silent, then retrying."""
    silent = case((device_update_states.stalled(now), 1), else_=0).label("silent")
    columns = (Assignment.state, silent, Assignment.failure_code, Assignment.failure_msg)
    troubled = (
        select(*columns, func.count().label("number"), func.min(Assignment.id).label("first"))
        # Name the states so that the database can use the index.
        .where(
            Assignment.current,
            Assignment.state.in_((*device_update_states.FAILING, *assignment_states.ACTIVE)),
        )
        .where(
            or_(
                device_update_states.stalled(now),
                Assignment.state.in_(device_update_states.FAILING),
            )
        )
        .group_by(*columns)
    )
    rows: list[Any] = list(session.execute(troubled))
    rank = {assignment_states.FAILED: 0, assignment_states.RETRY: 2}
    rows = sorted(rows, key=lambda row: (rank.get(row.state, 1), -row.number, row.first))[:GROUPS]
    return [_group(session, row, now) for row in rows]


def _group(session: Session, row: Any, now: float) -> dict[str, Any]:
    """Return some of the group's devices by name, and the reason they are in it."""
    same = (
        Assignment.current,
        Assignment.state == row.state,
        Assignment.failure_code.is_not_distinct_from(row.failure_code),
        Assignment.failure_msg.is_not_distinct_from(row.failure_msg),
    )
    named = (
        select(Assignment, Device.device_name)
        .join(Device, Device.id == Assignment.device_id)
        .where(*same, device_update_states.stalled(now) if row.silent else true())
        .order_by(Assignment.id)
        .limit(NAMED)
    )
    found = session.execute(named).tuples().all()
    reason = "no reports during the update"
    if row.state in device_update_states.FAILING and found:
        reason = wait_reason.why_failed(found[0][0])
    return {
        "state": row.state,
        "stalled": bool(row.silent),
        "count": row.number,
        "reason": reason,
        "devices": [(attempt.device_id, name) for attempt, name in found],
    }


def _running(session: Session) -> list[tuple[Campaign, campaign_rules.Tally]]:
    """Return unfinished campaigns, newest first, with their progress."""
    query = (
        select(Campaign)
        .where(
            Campaign.state.in_(
                (campaign_rules.RUNNING, campaign_rules.PAUSED, campaign_rules.STOPPED)
            )
        )
        .options(joinedload(Campaign.firmware))
        .order_by(Campaign.id.desc())
        .limit(RUNNING_SHOWN)
    )
    found = session.scalars(query).all()
    tallies = campaign_counts.tallies(session, [each.id for each in found])
    return [(each, tallies.get(each.id, campaign_rules.Tally())) for each in found]
