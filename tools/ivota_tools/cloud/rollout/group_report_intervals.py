"""The interval at which boards report their version, as groups set it.

If several groups with an interval contain a device, the longest applies. The cloud sends it in its
answer to a report of the version, to boards that have shown that they are ivota's own
(docs/protocol.md).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from sqlalchemy import ColumnElement, and_, case, literal, select, true
from sqlalchemy.orm import Session

from ..store.device_acceptance import ACCEPTED
from ..store.models import MQTT, Device, Group
from . import device_query

log = logging.getLogger("ivota.cloud")

FRESH_S = 2.0  # until the groups are read again: another process may have changed them
GROUPS_MOST = 16  # in a query: a database limits the values in it


class Interval(NamedTuple):
    """A group's interval in seconds, with the terms of its query."""

    group: str
    seconds: int
    terms: list[device_query.Term]


class ReportIntervals:
    """The groups that set an interval, as this process has last read them.

    `clock` returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._read_at = -FRESH_S
        self._known: list[Interval] = []
        self._warned: set[str] = set()

    def of(self, session: Session, devices: Collection[Device], now: float) -> dict[int, int]:
        """Return the interval in seconds by the id of each of these devices that has one.

        Writes the session's changes first, because queries can ask for what a report has changed.
        """
        if (at := self._clock()) - self._read_at >= FRESH_S:
            self._known, self._read_at = _read(session, self._warned), at
        ids = {device.id for device in devices if understands(device)}
        if not self._known or not ids:
            return {}
        session.flush()
        found = _matching(session, self._known, ids, now)
        return {number: each.seconds for number, each in found.items()}


def understands(device: Device) -> bool:
    """Return whether the device is a board of ivota: no other client gets an interval."""
    return device.message_most is not None and device.transport == MQTT


def applying(session: Session, device: Device, now: float) -> Interval | None:
    """Return the interval that the device will get, with the group that sets it."""
    return _matching(session, _read(session, set()), {device.id}, now).get(device.id)


def _read(session: Session, warned: set[str]) -> list[Interval]:
    """Return the groups that set an interval, the longest first.

    Logs a group with an invalid query, unless it is among `warned`.
    """
    query = select(Group).where(Group.report_interval_s.is_not(None))
    found = []
    for group in session.scalars(query.order_by(Group.report_interval_s.desc(), Group.id)):
        try:
            terms = device_query.parse(group.query)
        except device_query.QueryError as error:  # of an older version's syntax
            if group.name not in warned:
                log.warning(
                    "ignoring the report interval of group %s, whose query is not valid: %s",
                    group.name, error,
                )  # fmt: skip
            warned.add(group.name)
            continue
        found.append(Interval(group.name, group.report_interval_s or 0, terms))
    return found


def _matching(
    session: Session, intervals: list[Interval], ids: Collection[int], now: float
) -> dict[int, Interval]:
    """Return the first of the intervals that applies, by the id of the device."""
    found: dict[int, Interval] = {}
    for start in range(0, len(intervals), GROUPS_MOST):
        some = intervals[start : start + GROUPS_MOST]
        first = case(
            *((_all(session, each.terms, now), literal(at)) for at, each in enumerate(some))
        )
        rest = [number for number in ids if number not in found]
        query = select(Device.id, first).where(Device.id.in_(rest), Device.status == ACCEPTED)
        for number, at in session.execute(query).tuples():
            if at is not None:
                found[number] = some[at]
    return found


def _all(session: Session, terms: Iterable[device_query.Term], now: float) -> ColumnElement[bool]:
    parts = (device_query.condition(session, each, now, one_by_one=True) for each in terms)
    return and_(true(), *parts)
