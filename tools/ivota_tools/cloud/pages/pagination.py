"""Database rows for a page: one by the number in its address, or one page of many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import Session
from sqlalchemy.orm.interfaces import ORMOption

from ..store.models import Base

Row = TypeVar("Row", bound=Base)
Query = TypeVar("Query", bound=Select[Any])


@dataclass(frozen=True)
class Page:
    """The part of a table that is shown: page `number` of `last`, of `count` rows in all."""

    count: int
    number: int
    last: int
    length: int

    @property
    def start(self) -> int:
        return (self.number - 1) * self.length

    def of(self, query: Query) -> Query:
        return query.limit(self.length).offset(self.start)


def page(count: int | None, asked: int, length: int) -> Page:
    """Return the requested page, or the last one if there are fewer."""
    last = max(-(-(count or 0) // length), 1)
    return Page(count or 0, min(max(asked, 1), last), last, length)


def row(
    session: Session, kind: type[Row], number: int, options: Sequence[ORMOption] = ()
) -> Row | None:
    """Return the row with the id in a path. A client may send any number; ids have 31 bits."""
    return session.get(kind, number, options=options) if 0 < number < 2**31 else None
