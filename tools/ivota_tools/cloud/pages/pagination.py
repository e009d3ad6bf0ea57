"""Select rows for a page: one row by the id in the address, or one page of a long list.

A page of a list begins after the last row of the previous page. The database finds that row in an
index, no matter how many rows come before it. The address stays valid while rows are added.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select, literal, true, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.orm.interfaces import ORMOption

from ..store.models import Base

Row = TypeVar("Row", bound=Base)
Item = TypeVar("Item")

AFTER, BEFORE = "after-", "before-"  # in an address, in front of the keys of a row


@dataclass(frozen=True)
class Page(Generic[Item]):
    """The rows that are shown. `previous` and `following` are the pages beside them in an address,
    "" if there is none; `count` is the number of rows in all, None if nobody has counted them.
    """

    rows: Sequence[Item]
    previous: str = ""
    following: str = ""
    count: int | None = None


@dataclass(frozen=True)
class Order:
    """The columns that order a table: unique for each row, and never null.

    `parts` are conditions that exclude each other; rows of an earlier part come first.
    """

    keys: Sequence[ColumnElement[Any] | InstrumentedAttribute[Any]]
    descending: bool = False
    parts: Sequence[ColumnElement[bool]] = (true(),)


def page(
    session: Session,
    query: Select[Any],
    order: Order,
    asked: str,
    length: int,
    count: int | None = None,
) -> Page[Any]:
    """Return up to `length` rows of the query's first column: the page `asked`, or the first."""
    backwards = asked.startswith(BEFORE)
    place = _place(asked.removeprefix(BEFORE if backwards else AFTER), order)
    if place is None:
        backwards = False
    found = _rows(session, query, order, place, backwards, length + 1)
    more = len(found) > length
    if place is not None and (not found or (backwards and not more)):
        return page(session, query, order, "", length, count)  # nothing comes before, or remains
    found = found[:length]
    if backwards:
        found.reverse()
    previous = place is not None  # a page that begins somewhere
    following = more or backwards
    return Page(
        [item for item, _ in found],
        f"{BEFORE}{_text(found[0][1])}" if found and previous else "",
        f"{AFTER}{_text(found[-1][1])}" if found and following else "",
        count,
    )


def _rows(
    session: Session,
    query: Select[Any],
    order: Order,
    place: list[Any] | None,
    backwards: bool,
    most: int,
) -> list[tuple[Any, list[Any]]]:
    """Return rows from a place on, each with its own place."""
    found: list[tuple[Any, list[Any]]] = []
    down = order.descending != backwards
    for number, part in sorted(enumerate(order.parts), reverse=backwards):
        some = query.where(part)
        if place is not None and number != place[0]:
            if (number > place[0]) == backwards:
                continue
        elif place is not None:
            keys = tuple_(*order.keys)
            at = tuple_(*(literal(value, key.type)
                          for value, key in zip(place[1:], order.keys, strict=True)))  # fmt: skip
            some = some.where(keys < at if down else keys > at)
        some = some.add_columns(*order.keys)
        some = some.order_by(*(key.desc() if down else key.asc() for key in order.keys))
        for row in session.execute(some.limit(most - len(found))):
            found.append((row[0], [number, *row[1:]]))
        if len(found) == most:
            break
    return found


def _text(place: list[Any]) -> str:
    """Return a place as text, if possible as a number."""
    return json.dumps(place[1] if len(place) == 2 and not place[0] else place, ensure_ascii=False)


def _place(text: str, order: Order) -> list[Any] | None:
    """Return the place in an address, or None if it is not valid."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return None
    place = said if isinstance(said, list) else [0, said]
    kinds = [int, *(key.type.python_type for key in order.keys)]
    if len(place) != len(kinds) or not 0 <= _whole(place[0]) < len(order.parts):
        return None
    fitting = all(_is(value, kind) for value, kind in zip(place, kinds, strict=True))
    return place if fitting else None


def _whole(value: Any) -> int:
    return value if type(value) is int else -1


def _is(value: Any, kind: type) -> bool:
    if kind is float and type(value) in (int, float):
        return math.isfinite(value) and abs(value) < 2**63
    if kind is int:
        return type(value) is int and abs(value) < 2**63
    # A database accepts neither NUL nor halves of characters.
    return kind is type(value) is str and not re.search("[\0\ud800-\udfff]", value)


def row(
    session: Session, kind: type[Row], number: int, options: Sequence[ORMOption] = ()
) -> Row | None:
    """Return the row with the id in a path. A client may send any number; ids have 31 bits."""
    return session.get(kind, number, options=options) if 0 < number < 2**31 else None
