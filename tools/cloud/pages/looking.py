"""What the fleet's page asks the database: few queries, whatever the number of devices."""

from __future__ import annotations

import glob
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select
from sqlalchemy.orm import Session

from .. import rollout
from ..models import Assignment, Device, DeviceTag, Firmware
from ..pushing import SILENT_S
from ..query import QueryError, parse, pattern, span_s, split
from ..records import WITH_TARGET
from ..versions import key

PAGE = 50  # rows of a table
_QUOTED = re.compile(r"[\s'\"\\]|^$")
OPEN = (rollout.WAITING, rollout.PUSHED, rollout.DOWNLOADING, rollout.BURNING, rollout.CURRENT)
FINE = (rollout.DONE, rollout.SKIPPED)
IDLE = "idle"
STALLED, ATTENTION, ON_THE_WAY = "stalled", "attention", "on-the-way"
FAILING = (rollout.FAILED, rollout.RETRY)
TROUBLES = (*FAILING, *rollout.ACTIVE)
RANKED = (*TROUBLES, rollout.WAITING, rollout.CURRENT)


@dataclass(frozen=True)
class Wanted:
    """What the page was asked for."""

    text: str = ""
    state: str = ""
    version: str = ""
    sort: str = ATTENTION
    page: int = 1


SORTS = {
    ATTENTION: "what needs a look",
    "name": "name",
    "seen": "silent the longest",
}


@dataclass(frozen=True)
class Found:
    """One page of devices, and how many there are in all."""

    devices: Sequence[Device]
    total: int
    page: int
    pages: int
    problem: str = ""


def devices(session: Session, wanted: Wanted, now: float) -> Found:
    try:
        conditions = [*_of_text(session, wanted.text, now), *_of_state(wanted.state, now)]
    except QueryError as error:
        return Found([], 0, 1, 1, str(error))
    if wanted.version:
        conditions.append(Device.version == wanted.version)
    # Without a word about the state, the devices alone are counted: that is an index.
    counted = _joined() if wanted.state else select(Device)
    total = session.scalar(counted.where(*conditions).with_only_columns(func.count(Device.id)))
    pages = max(-(-(total or 0) // PAGE), 1)
    page = min(max(wanted.page, 1), pages)
    chosen = _ids(session, conditions, wanted.sort, (page - 1) * PAGE, now)
    query = select(Device).where(Device.id.in_(chosen)).options(*WITH_TARGET)
    by_id = {device.id: device for device in session.scalars(query)}
    return Found([by_id[each] for each in chosen if each in by_id], total or 0, page, pages)


def count(session: Session, text: str, now: float) -> int:
    """How many devices a query means. Raises QueryError."""
    parse(text)
    conditions = _of_text(session, text, now)
    return session.scalar(select(func.count(Device.id)).where(*conditions)) or 0


def as_query(wanted: Wanted) -> str:
    """The same as a campaign asks for it: parts of names become patterns. It knows no states."""
    found: list[str] = []
    for word in _words(wanted.text):
        product, slash, name = word.rpartition("/")
        if word == "all" or split(word):
            found.append(word)
            continue
        if slash:
            found.append(f"product:{product}")
        found.append(f"name:*{glob.escape(name)}*")
    if wanted.version:
        found.append(f"version:{wanted.version}")
    # `<` and `*` need no quotes here, as they would in a shell.
    return " ".join(shlex.quote(word) if _QUOTED.search(word) else word for word in found)


def _ids(
    session: Session, conditions: list[ColumnElement[bool]], sort: str, start: int, now: float
) -> list[int]:
    """Of one page, in order."""
    by_name = (Device.product_id, Device.device_name)

    def some(query: Select[Any], order: Any, offset: int, most: int) -> list[int]:
        ids = query.with_only_columns(Device.id).order_by(*order)
        return list(session.scalars(ids.limit(most).offset(offset)))

    if sort != ATTENTION:
        order = (func.coalesce(Device.last_seen, 0), *by_name) if sort == "seen" else by_name
        return some(_joined().where(*conditions), order, start, PAGE)
    # Those of which something is to be said are few, and sorted; the rest comes by its name, for
    # which there is an index.
    first = _joined().where(*conditions, Assignment.state.in_(RANKED))
    rank = case(
        (Assignment.state == rollout.FAILED, 0),
        (stalled(now), 1),
        (Assignment.state == rollout.RETRY, 2),
        (Assignment.state.in_(rollout.ACTIVE), 3),
        else_=4,
    )
    found = some(first, (rank, *by_name), start, PAGE)
    if len(found) < PAGE:
        count = session.scalar(first.with_only_columns(func.count(Device.id))) or 0
        other = or_(Assignment.id.is_(None), Assignment.state.not_in(RANKED))
        rest = _joined().where(*conditions, other)
        found += some(rest, by_name, max(start - count, 0), PAGE - len(found))
    return found


def _joined() -> Select[tuple[Device]]:
    current = and_(Assignment.device_id == Device.id, Assignment.current)
    return select(Device).outerjoin(Assignment, current)


def is_stalled(assignment: Assignment | None, now: float) -> bool:
    """In its download, but nothing was heard of it for a while."""
    return (
        assignment is not None
        and assignment.state in rollout.ACTIVE
        and assignment.updated_at < now - SILENT_S
    )


def stalled(now: float) -> ColumnElement[bool]:
    return and_(Assignment.state.in_(rollout.ACTIVE), Assignment.updated_at < now - SILENT_S)


def _of_state(state: str, now: float) -> list[ColumnElement[bool]]:
    if not state:
        return []
    if state == IDLE:
        return [Assignment.id.is_(None)]
    if state == STALLED:
        return [stalled(now)]
    if state == ATTENTION:
        return [or_(Assignment.state.in_((rollout.FAILED, rollout.RETRY)), stalled(now))]
    if state == ON_THE_WAY:
        return [Assignment.state.in_(OPEN), ~stalled(now)]
    if state == rollout.DONE:
        return [Assignment.state.in_(FINE)]
    return [Assignment.state == state]


def _of_text(session: Session, text: str, now: float) -> list[ColumnElement[bool]]:
    """Words of a query (query.py), or parts of a name. Raises QueryError."""
    conditions: list[ColumnElement[bool]] = []
    for word in _words(text):
        if word == "all":
            continue
        term = split(word)
        if term is None:
            part = f"%{_escaped(word.lower())}%"
            name = func.lower(Device.product_id + "/" + Device.device_name)
            conditions.append(name.like(part, escape="\\"))
            continue
        parse(word)  # says what is wrong with it
        minus, what, sign, value = term
        condition = _term(session, what, sign, value, now)
        conditions.append(~condition if minus else condition)
    return conditions


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _term(session: Session, what: str, sign: str, value: str, now: float) -> ColumnElement[bool]:
    if what == "tag":
        with_tag = select(DeviceTag.device_id).where(DeviceTag.tag == value)
        return Device.id.in_(with_tag)
    if what == "product":
        return Device.product_id == value
    if what == "name":
        return _matches(session, value)
    if what == "seen":
        silent = now - func.coalesce(Device.last_seen, -1e12)
        return _compared(silent, sign, span_s(value))
    if sign == ":":
        return func.coalesce(Device.version == value, False)
    # There are few versions, whatever the number of devices.
    known = session.scalars(select(Device.version).where(Device.version.isnot(None)).distinct())
    fitting = [each for each in known if each and _holds(key(each), sign, key(value))]
    return func.coalesce(Device.version.in_(fitting), False)


def _matches(session: Session, text: str) -> ColumnElement[bool]:
    if session.get_bind().dialect.name == "sqlite":
        # Its sets negate by another sign.
        parts = (f"[{rest.replace('!', '^')}]" if sign == "[" else sign or rest
                 for sign, rest in pattern(text))  # fmt: skip
        return Device.device_name.op("GLOB")("".join(parts))
    signs = {"*": ".*", "?": "."}
    made = ""
    for sign, rest in pattern(text):
        if sign == "[":
            no = rest[:1] == "!"
            inside = rest[no:]
            made += f"[{'^' * no}{inside if inside not in '[*?' else chr(92) + inside}]"
        else:
            made += signs.get(sign) or re.escape(rest)
    return Device.device_name.op("~")(f"^(?:{made})$")


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _compared(left: ColumnElement[float], sign: str, right: float) -> ColumnElement[bool]:
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[sign]


def _holds(left: object, sign: str, right: object) -> bool:
    less, same = left < right, left == right  # type: ignore[operator]
    return bool({"<": less, "<=": less or same, ">": not (less or same), ">=": not less}[sign])


def by_version(session: Session) -> list[tuple[str | None, int]]:
    """How many devices run what, newest version first."""
    query = select(Device.version, func.count()).group_by(Device.version)
    rows = session.execute(query).tuples().all()
    return sorted(rows, key=lambda row: ([], "") if row[0] is None else (key(row[0]), row[0]),
                  reverse=True)  # fmt: skip


def by_state(session: Session, now: float) -> dict[str, int]:
    """Devices with a target by its state, those that are stalled apart."""
    current = select(Assignment.state, func.count()).where(Assignment.current)
    found = dict(session.execute(current.group_by(Assignment.state)).tuples().all())
    silent = current.where(stalled(now)).group_by(Assignment.state)
    for state, count in session.execute(silent).tuples():
        found[state] -= count
        found[STALLED] = found.get(STALLED, 0) + count
    return found


def few(
    session: Session, condition: ColumnElement[bool], order: Any, most: int
) -> Sequence[Device]:
    """Some devices by their target, with it."""
    query = (
        select(Assignment.device_id).where(Assignment.current, condition).order_by(order)
    ).limit(most)
    chosen = session.scalars(query).all()
    rows = session.scalars(select(Device).where(Device.id.in_(chosen)).options(*WITH_TARGET))
    by_id = {device.id: device for device in rows}
    return [by_id[each] for each in chosen if each in by_id]


def newest(session: Session) -> list[Firmware]:
    """The newest firmware by version, one for each application."""
    found: dict[str | None, Firmware] = {}
    whole = select(Firmware).where(Firmware.whole_id.is_(None))
    for firmware in session.scalars(whole.order_by(Firmware.id)):
        held = found.get(firmware.application)
        if held is None or key(held.version) <= key(firmware.version):
            found[firmware.application] = firmware
    return list(found.values())
