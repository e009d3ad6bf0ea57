"""Parse and run queries, whose terms must all match an accepted device.

    tag:kitchen  product:P  name:lab-*  version:0.1  version<0.2  version>=1  seen<7d  seen>1h
    application:blink  hardware:esp32c3

A minus sign negates a term; an empty query matches all devices. `seen<7d` matches devices that
were last seen less than 7 days ago; the units are s, min, h and d.
"""

from __future__ import annotations

import operator
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from ...common.durations import seconds
from ..mqtt.report_ingestion import WITH_TARGET
from ..store.device_acceptance import ACCEPTED
from ..store.models import QUERY_MOST, Device, DeviceTag
from .version_order import key

_TERM = re.compile(
    r"(-?)(tag|product|name|version|seen|application|hardware)(:|<=|>=|<|>)(.+)", re.DOTALL
)


# A set in a name pattern: letters, digits and a few characters, or one pattern character.
# Databases treat any others differently.
_SET = re.compile(r"\[(!?)((?:[A-Za-z0-9_.](?:-[A-Za-z0-9_.])?)+|[\[*?])\]")


# Of numbers and versions, and of columns, of which it makes a condition.
COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


IDS_MOST = 500  # per database query


class QueryError(ValueError):
    """A query is invalid; the message explains which term and why."""


@dataclass(frozen=True)
class Facts:
    """The properties of a device for a query; `silent_s` is None if it has never reported."""

    product: str
    name: str
    tags: frozenset[str]
    version: str | None
    silent_s: float | None
    application: str | None = None
    hardware: str | None = None


class Match(NamedTuple):
    """What a device runs and is, as far as it is known."""

    version: str | None
    application: str | None
    hardware: str | None


Test = Callable[[Facts], bool]


def parse(text: str) -> Test:
    """Compile a query to a function. Raises QueryError."""
    if len(text) > QUERY_MOST:
        raise QueryError(f"a query must have at most {QUERY_MOST} characters")
    if "\0" in text:
        raise QueryError("a query must not contain NUL characters")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise QueryError(f"{text!r} is not a valid query: {error}") from None
    tests = [_term(word) for word in words if word != "all"]
    return lambda facts: all(test(facts) for test in tests)


def expect_words(text: str) -> None:
    """Raise QueryError for an empty query where it would mean every device."""
    if not text.strip():
        raise QueryError("the query is empty: specify which devices, or `all` for all devices")
    parse(text)


def find(
    session: Session, text: str, now: float, after: int = 0, limit: int | None = None
) -> list[Device]:
    """Find the devices that match a query, with their targets, by id: at most `limit` after the
    id `after`. Raises QueryError.
    """
    ids = [number for number in matching(session, text, now) if number > after][:limit]
    found: dict[int, Device] = {}
    for at in range(0, len(ids), IDS_MOST):
        some = select(Device).where(Device.id.in_(ids[at : at + IDS_MOST])).options(*WITH_TARGET)
        found |= {device.id: device for device in session.scalars(some)}
    return [found[number] for number in ids if number in found]


def matching(session: Session, text: str, now: float) -> dict[int, Match]:
    """Find the matching devices by id, without creating objects.

    Raises QueryError.
    """
    test = parse(text)
    tags: dict[int, set[str]] = {}
    for number, tag in session.execute(select(DeviceTag.device_id, DeviceTag.tag)).tuples():
        tags.setdefault(number, set()).add(tag)
    query = select(
        Device.id,
        Device.product_id,
        Device.device_name,
        Device.last_seen,
        Device.version,
        Device.application,
        Device.hardware,
    ).where(Device.status == ACCEPTED)
    return {
        number: match
        for number, product, name, seen, *about in session.execute(query.order_by(Device.id))
        if test(_facts(product, name, tags.get(number, ()), seen, match := Match(*about), now))
    }


def _facts(
    product: str,
    name: str,
    tags: Iterable[str],
    last_seen: float | None,
    about: Match,
    now: float,
) -> Facts:
    silent = None if last_seen is None else max(now - last_seen, 0)
    return Facts(product, name, frozenset(tags), about.version, silent, *about[1:])


def split(word: str) -> tuple[str, str, str, str] | None:
    """Split a term into (minus or nothing, field, operator, value), or return None."""
    match = _TERM.fullmatch(word)
    return (match[1], match[2], match[3], match[4]) if match else None


def pattern(value: str) -> Iterator[tuple[str, str]]:
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


def span_s(value: str) -> float:
    """Return a valid duration in seconds."""
    try:
        return seconds(value)
    except ValueError:
        return 0.0


def _term(word: str) -> Test:
    term = split(word)
    if term is None:
        raise QueryError(
            f"{word!r} is not a valid term: use tag:T, product:P, name:N*, version<V, "
            "seen<7d, application:A or hardware:H"
        )
    minus, what, sign, value = term
    if what == "version":
        test = _version(word, sign, value)
    elif what == "seen":
        test = _seen(word, sign, value)
    elif sign != ":":
        raise QueryError(f"{word!r}: use a colon after {what}")
    else:
        test = _text(what, value)
    return (lambda facts: not test(facts)) if minus else test


def _text(what: str, value: str) -> Test:
    if what == "tag":
        return lambda facts: value in facts.tags
    if what == "product":
        return lambda facts: facts.product == value
    if what == "application":
        return lambda facts: facts.application == value
    if what == "hardware":
        return lambda facts: (facts.hardware or "").lower() == value.lower()
    list(pattern(value))
    return lambda facts: fnmatchcase(facts.name, value)


def _version(word: str, sign: str, value: str) -> Test:
    if value[0] in "<>=:":
        raise QueryError(f"{word!r}: compare versions with <, <=, > or >=")
    if sign == ":":
        return lambda facts: facts.version == value
    bound = key(value)
    return lambda facts: facts.version is not None and COMPARED[sign](key(facts.version), bound)


def _seen(word: str, sign: str, value: str) -> Test:
    bound = span_s(value)
    if not bound or sign == ":":
        raise QueryError(f"{word!r}: use seen<7d or seen>12h")
    # A device that has never reported counts as last seen longer ago than any time.
    return lambda facts: COMPARED[sign](
        float("inf") if facts.silent_s is None else facts.silent_s, bound
    )
