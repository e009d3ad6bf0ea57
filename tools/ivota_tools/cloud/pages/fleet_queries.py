"""The fleet page's database queries: few, however many devices there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from ...common.version_order import key
from ..mqtt.report_ingestion import WITH_TARGET
from ..rollout import assignment_states, device_query, device_update_states
from ..rollout.device_query import QueryError
from ..rollout.device_update_states import FAILING, OPEN, STALLED, left_target, stalled
from ..store.device_acceptance import ACCEPTED, PENDING, RETIRED
from ..store.models import Assignment, Device, DeviceTag, Firmware, Group
from . import device_search
from .device_search import quoted
from .kept_counts import Counts
from .page_visit import Visit
from .pagination import Order, Page, page

PAGE = 50  # rows of a table
NEWEST_OF = 1000  # latest uploads
VERSIONS_MOST = 100  # choices


@dataclass(frozen=True)
class Wanted:
    """The search, the order and the page that were requested."""

    text: str = ""
    state: str = ""
    version: str = ""
    application: str = ""
    sort: str = device_update_states.ATTENTION
    page: str = ""

    @classmethod
    def of(cls, visit: Visit) -> Wanted:
        """Return what the address asks for."""
        return cls(
            visit.asked("q"),
            visit.asked("state", most=16),
            visit.asked("version", most=128),
            visit.asked("application", most=128),
            visit.asked("sort", device_update_states.ATTENTION, 16),
            visit.asked("page"),
        )

    @property
    def words(self) -> str:
        """Return the search as one line."""
        terms = ("state", self.state), ("version", self.version), ("application", self.application)
        found = [f"{name}:{quoted(value)}" for name, value in terms if value]
        return " ".join([self.text.strip(), *found]).strip() or "all"


SUGGESTED = 60  # maximum number of suggestions


@dataclass(frozen=True)
class Found:
    """One page of devices, or what is wrong with the query."""

    devices: Sequence[Device]
    page: Page[int]
    problem: str = ""


def devices(session: Session, wanted: Wanted, now: float, counts: Counts | None = None) -> Found:
    """Return the page that is wanted; `counts` keeps the number of devices in all."""
    try:
        conditions = _conditions(session, wanted, now)
    except QueryError as error:
        return Found([], Page([], count=0), str(error))

    def matching(session: Session) -> int:
        # Without a state in the query, count only the devices: an index is enough for that.
        counted = _joined() if wanted.state else select(Device)
        number = func.count(Device.id)
        return session.scalar(counted.where(*conditions).with_only_columns(number)) or 0

    what = "matching", wanted.text, wanted.state, wanted.version, wanted.application
    count = counts.get(what, matching) if counts else matching(session)
    ids = _joined().where(*conditions).with_only_columns(Device.id)
    part = page(session, ids, _order(wanted.sort, now), wanted.page, PAGE, count)
    return Found(_with_targets(session, part.rows), part)


def matching(session: Session, wanted: Wanted, now: float) -> list[ColumnElement[bool]]:
    """Return the conditions of the search for a query without attempts. Raises QueryError."""
    if not wanted.state or wanted.state in (PENDING, RETIRED):
        return _conditions(session, wanted, now)
    state = device_query.Term(False, "state", ":", wanted.state)
    others = _conditions(session, replace(wanted, state=""), now)
    return [*others, device_query.condition(session, state, now, one_by_one=True)]


def listed(
    session: Session, wanted: Wanted, now: float, after: int, limit: int
) -> Sequence[tuple[int, float | None]]:
    """Return the ids of the devices that the search finds, each with the time when it was first
    seen: at most `limit` after the id `after`. Raises QueryError.
    """
    found = _joined().where(Device.id > after, *_conditions(session, wanted, now))
    found = found.order_by(Device.id).limit(limit)
    return session.execute(found.with_only_columns(Device.id, Device.first_seen)).tuples().all()


def seen_by(newest: float) -> ColumnElement[bool]:
    """Return the condition for a device that had joined by then. SQLite gives the id of the last
    device again once that is deleted, so the ids alone may mean other devices.
    """
    return or_(Device.first_seen.is_(None), Device.first_seen <= newest)


def _conditions(session: Session, wanted: Wanted, now: float) -> list[ColumnElement[bool]]:
    """Raises QueryError."""
    conditions = device_search.conditions(session, wanted.text, now)
    conditions += _of_state(wanted.state, now)
    if wanted.version:
        conditions.append(Device.version == wanted.version)
    if wanted.application:
        conditions.append(Device.application == wanted.application)
    return conditions


def _order(sort: str, now: float) -> Order:
    keys: list[Any] = [Device.product_id, Device.device_name]
    what = sort.lstrip("-")
    if what == "seen":
        keys.insert(0, func.coalesce(Device.last_seen, 0.0))
    elif what == "version":
        keys.insert(0, func.coalesce(Device.version_key, ""))
    if what in ("name", "seen", "version"):
        return Order(keys, sort.startswith("-"))
    # What needs a remark comes first. The database finds a part with few devices by its state,
    # and walks a part with many in the order of the names.
    silent = stalled(now)
    return Order(
        keys,
        parts=(
            Assignment.state == assignment_states.FAILED,
            silent,
            Assignment.state == assignment_states.RETRY,
            and_(Assignment.state.in_(assignment_states.ACTIVE), ~silent),
            Assignment.state.in_(set(OPEN) - set(assignment_states.ACTIVE)),
            or_(Assignment.id.is_(None), Assignment.state.not_in((*FAILING, *OPEN))),
        ),
    )


def _joined() -> Select[tuple[Device]]:
    current = and_(Assignment.device_id == Device.id, Assignment.current)
    return select(Device).outerjoin(Assignment, current)


def _of_state(state: str, now: float) -> list[ColumnElement[bool]]:
    if state in (PENDING, RETIRED):
        return [Device.status == state]
    accepted = [Device.status == ACCEPTED]
    return [*accepted, device_update_states.of_attempt(state, now)] if state else accepted


def count(session: Session, status: str) -> int:
    query = select(func.count()).select_from(Device).where(Device.status == status)
    return session.scalar(query) or 0


def by_version(session: Session, application: str = "") -> list[tuple[str | None, int]]:
    """Return how many devices run each version, newest first; only the most common if many."""
    query = select(Device.version, func.count()).where(Device.status == ACCEPTED)
    if application:
        query = query.where(Device.application == application)
    # By the key, too: then the database can read both from an index.
    query = query.group_by(Device.version_key, Device.version)
    query = query.order_by(func.count().desc()).limit(VERSIONS_MOST)
    rows = session.execute(query).tuples().all()
    return sorted(rows, key=lambda row: ("", "") if row[0] is None else (key(row[0]), row[0]),
                  reverse=True)  # fmt: skip


def applications(session: Session) -> list[str]:
    """Return the applications that devices run."""
    query = select(Device.application).where(
        Device.status == ACCEPTED, Device.application.is_not(None)
    )
    found = session.scalars(query.distinct().order_by(Device.application).limit(VERSIONS_MOST))
    return [each for each in found if each]


def suggestions(
    session: Session, versions: list[tuple[str | None, int]], applications: list[str]
) -> list[str]:
    """Return words that a search understands, taken from the existing data."""
    groups = session.scalars(select(Group.query).order_by(Group.name).limit(SUGGESTED))
    tags = session.scalars(
        select(DeviceTag.tag).distinct().order_by(DeviceTag.tag).limit(SUGGESTED)
    )
    found = [each for each in groups if each]
    found += [f"tag:{quoted(tag)}" for tag in tags]
    found += [f"application:{quoted(name)}" for name in applications]
    found += [f"version:{quoted(version)}" for version, _ in versions if version]
    return list(dict.fromkeys([*found, "seen<1d", "seen>1d"]))[:SUGGESTED]


def by_state(session: Session, now: float) -> dict[str, int]:
    """Count the devices with a target by state, with stalled ones counted separately, and
    without those that have left it.
    """
    current = select(Assignment.state, func.count()).where(Assignment.current)
    found = dict(session.execute(current.group_by(Assignment.state)).tuples().all())
    silent = current.where(stalled(now)).group_by(Assignment.state)
    for state, count in session.execute(silent).tuples():
        found[state] -= count
        found[STALLED] = found.get(STALLED, 0) + count
    for state, count in session.execute(
        current.where(left_target()).group_by(Assignment.state)
    ).tuples():
        found[state] -= count
    return found


def few(
    session: Session, condition: ColumnElement[bool], order: Any, most: int
) -> Sequence[Device]:
    """Return at most `most` devices whose assignment meets the condition, with their targets."""
    query = select(Assignment.device_id).where(Assignment.current, condition)
    return _with_targets(session, session.scalars(query.order_by(order).limit(most)).all())


def _with_targets(session: Session, ids: Sequence[int]) -> list[Device]:
    """Return the devices in the given order, with their targets."""
    query = select(Device).where(Device.id.in_(ids)).options(*WITH_TARGET)
    by_id = {device.id: device for device in session.scalars(query)}
    return [by_id[each] for each in ids if each in by_id]


def newest(session: Session) -> list[Firmware]:
    """Return the firmware with the newest version for each kind of device: of each application,
    and in it for each hardware, chip and way to update.
    """
    found: dict[tuple[str | None, ...], Firmware] = {}
    whole = select(Firmware).where(Firmware.whole_id.is_(None), Firmware.deleted_at.is_(None))
    for firmware in session.scalars(whole.order_by(Firmware.id.desc()).limit(NEWEST_OF)):
        hardware = firmware.hardware and firmware.hardware.lower()
        kind = (firmware.application, hardware, firmware.chip, firmware.kind)
        held = found.get(kind)
        if held is None or key(held.version) < key(firmware.version):
            found[kind] = firmware
    return list(found.values())
