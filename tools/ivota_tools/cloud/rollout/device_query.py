"""Parse queries and convert them to SQL; they find the accepted devices that match all terms.

    tag:kitchen  product:P  name:lab-*  version:0.1  version<0.2  version>=1  seen<7d  seen>1h
    application:blink  hardware:rev-b  chip:esp32c3  state:failed

A minus sign negates a term; an empty query matches all devices. `seen<7d` matches devices that
were last seen less than 7 days ago; the units are s, min, h and d.
"""

from __future__ import annotations

import operator
import re
import shlex
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session

from ...common.durations import seconds
from ...common.version_order import key
from ..mqtt.report_ingestion import WITH_TARGET
from ..store.device_acceptance import ACCEPTED
from ..store.models import QUERY_MOST, Assignment, Device, DeviceTag
from . import device_chip, device_update_states

_TERM = re.compile(
    r"(-?)(tag|product|name|version|seen|application|hardware|chip|state)(:|<=|>=|<|>)(.+)",
    re.DOTALL,
)


# A set in a name pattern: letters, digits and a few characters, or one pattern character.
# Databases treat any others differently.
_SET = re.compile(r"\[(!?)((?:[A-Za-z0-9_.](?:-[A-Za-z0-9_.])?)+|[\[*?])\]")


_COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}

FEW = 5000  # devices that are sorted quickly
NEVER_S = -1e12  # when a device was last seen that has never reported: before any duration


class QueryError(ValueError):
    """A query is invalid; the message explains which term and why."""


class Term(NamedTuple):
    """A valid term, such as `-tag:kitchen`."""

    negated: bool
    field: str
    sign: str
    value: str


def parse(text: str) -> list[Term]:
    """Split a query into its terms. Raises QueryError."""
    if len(text) > QUERY_MOST:
        raise QueryError(f"a query must have at most {QUERY_MOST} characters")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise QueryError(f"{text!r} is not a valid query: {error}") from None
    return [term(word) for word in words if word != "all"]


def expect_words(text: str) -> None:
    """Raise QueryError for an empty query where it would mean every device."""
    if not text.strip():
        raise QueryError("the query is empty: specify which devices, or `all` for all devices")
    parse(text)


def accepted(session: Session, text: str, now: float) -> list[ColumnElement[bool]]:
    """Return the conditions for the accepted devices that match a query. Raises QueryError."""
    return of_status(session, text, now, ACCEPTED)


def of_status(session: Session, text: str, now: float, status: str) -> list[ColumnElement[bool]]:
    """Return the same for the devices of another status."""
    return [Device.status == status, *(condition(session, each, now) for each in parse(text))]


def count(session: Session, text: str, now: float) -> int:
    """Count the devices that match a query. Raises QueryError."""
    query = select(func.count()).select_from(Device).where(*accepted(session, text, now))
    return session.scalar(query) or 0


def find(session: Session, text: str, now: float, after: int, limit: int) -> list[Device]:
    """Find the devices that match a query, with their targets, by id: at most `limit` after the
    id `after`. Raises QueryError.
    """
    found = by_id(session, text, accepted(session, text, now), after, limit)
    return list(session.scalars(found.options(*WITH_TARGET)))


def by_id(
    session: Session, text: str, which: list[ColumnElement[bool]], after: int, limit: int
) -> Select[tuple[Device]]:
    """Return the query of at most `limit` devices after the id `after`; `which` has all
    conditions, also those of the query `text`.
    """
    # A sum has no index: SQLite then uses the index of versions, and sorts the rows.
    number = Device.id + 0 if _few_have_version(session, text) else Device.id
    matching = select(Device).where(number > after, *which)
    return matching.order_by(number).limit(limit)


def _few_have_version(session: Session, text: str) -> bool:
    """Return whether SQLite should sort the devices that match, because there are few of them.
    SQLite can't know how many there are. If many match, it is faster to read the devices in the
    order of their ids until a page is full.
    """
    versions = [_version(each) for each in parse(text) if each.field == "version"]
    if session.get_bind().dialect.name != "sqlite" or not versions:
        return False
    some = select(Device.id).where(Device.status == ACCEPTED, *versions).limit(FEW + 1)
    return (session.scalar(select(func.count()).select_from(some.subquery())) or 0) <= FEW


def is_term(word: str) -> bool:
    """Return whether a word looks like a term, whether it is valid or not."""
    return _TERM.fullmatch(word) is not None


def term(word: str) -> Term:
    """Check a word of a query. Raises QueryError."""
    match = _TERM.fullmatch(word)
    if match is None:
        raise QueryError(
            f"{word!r} is not a valid term: use all, tag:T, product:P, name:N*, version<V, "
            "seen<7d, application:A, hardware:H, chip:C or state:S"
        )
    minus, field, sign, value = match.groups()
    if "\0" in value:
        raise QueryError("a query must not contain NUL characters")
    if field == "version":
        if value[0] in "<>=:":
            raise QueryError(f"{word!r}: compare versions with <, <=, > or >=")
    elif field == "seen":
        if not _span_s(value) or sign == ":":
            raise QueryError(f"{word!r}: use seen<7d or seen>12h")
    elif sign != ":":
        raise QueryError(f"{word!r}: use a colon after {field}")
    elif field == "state" and value not in device_update_states.NAMES:
        raise QueryError(f"{word!r}: the states are {', '.join(device_update_states.NAMES)}")
    elif field == "name":
        list(_pattern(value))
    elif re.search(r"[*?\[]", value):
        raise QueryError(f"{word!r}: only name: accepts patterns; write the whole {field}")
    return Term(bool(minus), field, sign, value)


def condition(
    session: Session, term: Term, now: float, *, one_by_one: bool = False
) -> ColumnElement[bool]:
    """Return a term as a condition of the session's database.

    `one_by_one`: for a query of a few known devices. The database then looks up the tag or the
    state of each of them, rather than first listing all devices with that tag or state.
    """
    if term.field == "version":
        return _version(term)
    found = _condition(session, term, now, one_by_one)
    return ~found if term.negated else found


def _version(term: Term) -> ColumnElement[bool]:
    """Compare by a range of keys, even in a negated term: the database can use an index."""
    negated, _, sign, value = term
    made = key(value)
    if sign == ":":
        same = (Device.version_key == made) & (Device.version == value)
        other = or_(Device.version_key != made, Device.version != value)
        return or_(other, Device.version_key.is_(None)) if negated else same
    bound: ColumnElement[bool] = _COMPARED[_OPPOSITE[sign] if negated else sign](
        Device.version_key, made
    )
    # A device without a version matches a negated term only.
    return or_(bound, Device.version_key.is_(None)) if negated else bound


def _condition(session: Session, term: Term, now: float, one_by_one: bool) -> ColumnElement[bool]:
    _, field, sign, value = term
    if field == "tag":
        tagged = select(DeviceTag.device_id).where(DeviceTag.tag == value)
        if one_by_one:
            return tagged.where(DeviceTag.device_id == Device.id).exists()
        return Device.id.in_(tagged)
    if field == "product":
        return Device.product_id == value
    if field == "application":
        return func.coalesce(Device.application == value, False)
    if field == "hardware":
        return func.coalesce(func.lower(Device.hardware) == value.lower(), False)
    if field == "chip":
        chip = value.lower()
        return func.coalesce(device_chip.known(chip) == chip, False)
    if field == "name":
        return _matches(session, value)
    if field == "state":
        return _of_state(value, now, one_by_one)
    silent = now - func.coalesce(Device.last_seen, NEVER_S)
    older: ColumnElement[bool] = _COMPARED[sign](silent, _span_s(value))
    return older


def _of_state(state: str, now: float, one_by_one: bool) -> ColumnElement[bool]:
    current = select(Assignment.device_id).where(Assignment.current)
    if one_by_one:
        current = current.where(Assignment.device_id == Device.id)
        if state == device_update_states.IDLE:
            return ~current.exists()
        return current.where(device_update_states.of_attempt(state, now)).exists()
    if state == device_update_states.IDLE:
        return Device.id.not_in(current)
    return Device.id.in_(current.where(device_update_states.of_attempt(state, now)))


def _pattern(value: str) -> Iterator[tuple[str, str]]:
    """Split a name pattern into ("*", ""), ("?", ""), ("[", "!a-z") or ("", a letter).

    Raises QueryError.
    """
    at = 0
    while at < len(value):
        found = _SET.match(value, at)
        if found:
            if any(low > high for low, high in re.findall(r"(.)-(.)", found[2])):
                raise QueryError(f"{value!r}: the range {found[0]} is reversed")
            yield "[", found[1] + found[2]
        elif value[at] == "[":
            raise QueryError(f"{value!r}: write a set as [abc], [a-z] or [!0-9]")
        else:
            yield (value[at], "") if value[at] in "*?" else ("", value[at])
        at = found.end() if found else at + 1


def _span_s(value: str) -> float:
    """Return a valid duration in seconds."""
    try:
        return seconds(value)
    except ValueError:
        return 0.0


def _matches(session: Session, text: str) -> ColumnElement[bool]:
    if session.get_bind().dialect.name == "sqlite":
        # GLOB negates a set with a different character.
        parts = (f"[{rest.replace('!', '^')}]" if sign == "[" else sign or rest
                 for sign, rest in _pattern(text))  # fmt: skip
        return Device.device_name.op("GLOB")("".join(parts))
    signs = {"*": ".*", "?": "."}
    made = ""
    for sign, rest in _pattern(text):
        if sign == "[":
            no = rest[:1] == "!"
            inside = rest[no:]
            made += f"[{'^' * no}{inside if inside not in '[*?' else chr(92) + inside}]"
        else:
            made += signs.get(sign) or re.escape(rest)
    return Device.device_name.op("~")(f"^(?:{made})$")
