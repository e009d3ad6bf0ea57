"""Store messages from devices and apply them, inside one transaction."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, delete, insert, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, joinedload, lazyload

from ..rollout import assignment_states, firmware_match
from ..store import (
    ambiguous_device_names,
    change_numbers,
    device_acceptance,
    device_lock,
    event_counters,
)
from ..store.database import next_revision
from ..store.models import MQTT, Assignment, Change, Device, Report
from . import messages
from .cloud_session import Message

log = logging.getLogger("ivota.cloud")

RAW_MOST = 4096  # bytes kept of a message
JUNK_MOST = 1000  # invalid messages kept per device

RETAINED, STRAY = "retained", "stray"
FORGOTTEN = "pending devices removed"
JUNK = (messages.UNKNOWN, messages.GARBLED, RETAINED, STRAY)

# Returns the interval of reports by the id of each of these devices that a group sets, at a time.
Intervals = Callable[[Session, Collection[Device], float], Mapping[int, int]]

WITH_TARGET = (joinedload(Device.assignment).joinedload(Assignment.firmware),)


class Outgoing(NamedTuple):
    """A message to publish after its transaction is committed."""

    topic: str
    payload: bytes
    qos: int


def take_in(
    session: Session,
    messages: Sequence[Message],
    now: float,
    back_off: assignment_states.BackOff,
    accept_all: bool = True,
    *,
    dots_are_slashes: bool = False,
    kinds: Counter[str] | None = None,
    intervals: Intervals | None = None,
) -> list[Outgoing]:
    """Store messages from devices and apply them, inside one transaction.

    New devices are accepted if `accept_all`, otherwise they are pending.
    `dots_are_slashes`: the broker has replaced dots in topics with slashes. The messages are
    counted in `kinds`. Answers contain `intervals`, which is ReportIntervals.of.
    """
    if not messages:
        return []
    # With autoflush, every query would first write the changes of the earlier messages.
    with session.no_autoflush:
        heard = [_hear(message) for message in messages]
        if dots_are_slashes:
            known = ambiguous_device_names.undotted(
                session, {each.names for each in heard if each.names}
            )
            heard = [
                each._replace(names=known.get(each.names, each.names)) if each.names else each
                for each in heard
            ]
        status = device_acceptance.ACCEPTED if accept_all else device_acceptance.PENDING
        counted = Counter() if kinds is None else kinds
        return store(session, heard, now, back_off, status, counted, intervals)


class Heard(NamedTuple):
    """A message with its content: `kind` is its counter, `names` its sender."""

    message: Message
    report: messages.Report
    kind: str
    names: tuple[str, str] | None


def _hear(message: Message) -> Heard:
    report = messages.read_report(message.payload)
    if message.retained:
        # Ignore retained messages: they repeat at each subscription.
        return Heard(message, report, RETAINED, None)
    names = messages.device_of(message.topic)
    return Heard(message, report, report.kind if names else STRAY, names)


def store(
    session: Session,
    heard: Sequence[Heard],
    now: float,
    back_off: assignment_states.BackOff,
    status: str,
    kinds: Counter[str],
    intervals: Intervals | None = None,
) -> list[Outgoing]:
    """Store parsed messages and apply them; `status` is that of new devices."""
    devices = _devices(session, heard, status)
    answered: list[tuple[tuple[str, str], str, Device | None]] = []
    rows: list[dict[str, Any]] = []
    changes: list[dict[str, Any]] = []
    changed: set[Device] = set()
    for message, report, kind, names in heard:
        device = devices.get(names) if names else None
        if device is None and kind not in JUNK:
            kind = STRAY
        kinds[kind] += 1
        attempt = device.assignment if device else None
        if not (attempt and assignment_states.is_percentage(attempt, report)):
            rows.append(_row(message, report, kind, device, now))
        if names and report.kind == messages.REPORT_VERSION:
            # Also answer devices outside the fleet: a trial waits for this response.
            answered.append((names, report.version or "", device))
        if device is None:
            continue
        if kind in JUNK:
            device.garbled += kind == messages.GARBLED
            continue
        changed.add(device)
        if kind == messages.REPORT_VERSION:
            if report.version != device.version:
                changes.append(_change(device, report.version or "", now))
            _on_version(device, report, now)
        elif kind == messages.REPORT_NOTICE:
            if device.transport == MQTT:
                log.warning("%s: %s", device.name, report.result_msg)
            if device.assignment:
                assignment_states.on_notice(device.assignment, report)
        elif device.assignment:
            assignment_states.on_progress(device.assignment, report, now, back_off)
            if device.assignment.state == assignment_states.DONE:
                firmware_match.learn(device, device.assignment.firmware)
    change_numbers.reserve(session, len(changed))
    for device in changed:
        device.first_seen = device.first_seen or now
        device.last_seen = now
        device.revision = next_revision(session)
    told = _tell_intervals(session, answered, now, intervals) if intervals else {}
    event_counters.count(session, kinds)
    # Insert into the table directly, because no objects are needed here.
    if rows:
        session.execute(insert(Report.__table__), rows)  # type: ignore[arg-type]
    if changes:
        session.execute(insert(Change.__table__), changes)  # type: ignore[arg-type]
    if not kinds.keys().isdisjoint(JUNK):
        _prune_junk(session)
    if any(device.status == device_acceptance.PENDING for device in changed):
        session.flush()
        if forgotten := device_acceptance.make_room(session):
            event_counters.count(session, {FORGOTTEN: forgotten})
    return [
        _answer(names, version, told.get(device.id) if device else None)
        for names, version, device in answered
    ]


def _tell_intervals(
    session: Session,
    answered: Sequence[tuple[tuple[str, str], str, Device | None]],
    now: float,
    intervals: Intervals,
) -> Mapping[int, int]:
    """Return the intervals for the answers, and record them."""
    devices = {device for _, _, device in answered if device}
    told = intervals(session, devices, now)
    for device in devices:
        device.report_interval_s = told.get(device.id)
    return told


def _on_version(device: Device, report: messages.Report, now: float) -> None:
    version, before = report.version or "", device.version
    device.version = version
    device.application = report.application or device.application
    device.hardware = report.hardware or device.hardware
    device.message_most = report.message_most or device.message_most
    device.chip = report.chip or device.chip
    if device.assignment:
        assignment_states.on_version(device.assignment, version, now, before)


def _answer(names: tuple[str, str], version: str, interval_s: int | None) -> Outgoing:
    # Use QoS 0: an acknowledgement would cost as much as a report, and a device that misses the
    # response reports again.
    answer = messages.version_answer(version, interval_s)
    return Outgoing(messages.update_topic(*names), answer, 0)


def _devices(
    session: Session, heard: Sequence[Heard], status: str
) -> dict[tuple[str, str], Device]:
    """Find and lock the senders, and add new devices."""
    found = _known(session, {each.names for each in heard if each.names})
    new = {each.names for each in heard if each.names and each.kind not in JUNK} - found.keys()
    if not new:
        return found
    # In order, and without an error: another process may add some of them at this moment.
    rows = [
        {"product_id": product_id, "device_name": name, "status": status, "garbled": 0,
         "transport": MQTT, "revision": 0}
        for product_id, name in sorted(new)
    ]  # fmt: skip
    dialect = postgresql if device_lock.is_shared(session) else sqlite
    session.execute(dialect.insert(Device.__table__).on_conflict_do_nothing(), rows)
    return found | _known(session, new)


def _known(session: Session, names: Set[tuple[str, str]]) -> dict[tuple[str, str], Device]:
    # Names are nearly unique; a few extra rows do no harm. The index needs the product, too.
    which: tuple[ColumnElement[bool], ...] = (
        Device.product_id.in_({product_id for product_id, _ in names}),
        Device.device_name.in_({name for _, name in names}),
    )
    if device_lock.is_shared(session):
        # Exactly these: another process may store reports of the extra rows.
        which = (tuple_(Device.product_id, Device.device_name).in_(sorted(names)),)
        which = (Device.id.in_(device_lock.lock(session, *which)),)
    query = select(Device).where(*which)
    query = query.options(*WITH_TARGET, lazyload(Device.tags))
    return {(device.product_id, device.device_name): device for device in session.scalars(query)}


def _row(
    message: Message, report: messages.Report, kind: str, device: Device | None, now: float
) -> dict[str, Any]:
    attempt = device.assignment if device else None
    percent = report.percent
    if report.state == "fail" and attempt and attempt.state == assignment_states.DOWNLOADING:
        percent = attempt.percent  # how far the download got
    return {
        "at": now,
        "device_id": device.id if device else None,
        "assignment_id": attempt.id if attempt else None,
        "topic": message.topic[:512].replace("\0", "?"),
        "kind": kind,
        "version": report.version,
        "state": report.state,
        "percent": percent,
        "result_code": report.result_code,
        "result_msg": report.result_msg,
        "raw": message.payload[:RAW_MOST],
        "raw_size": len(message.payload),
    }


def _change(device: Device, version: str, now: float) -> dict[str, Any]:
    return {"at": now, "device_id": device.id, "before": device.version, "after": version}


def _prune_junk(session: Session) -> None:
    oldest = session.scalar(
        select(Report.id).where(Report.kind.in_(JUNK)).order_by(Report.id.desc()).offset(JUNK_MOST)
    )
    if oldest is not None:
        old = select(Report.id).where(Report.kind.in_(JUNK), Report.id <= oldest)
        # Another process may be deleting some of them.
        old = old.with_for_update(skip_locked=True)
        session.execute(delete(Report).where(Report.id.in_(old)))
