"""Rows for a response: a page of a list, or the row with an id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from fastapi import HTTPException
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from ..store.models import Base
from .route_parameters import ID_MOST

Row = TypeVar("Row", bound=Base)


def rows_after(
    session: Session,
    query: Select[tuple[Row]],
    key: InstrumentedAttribute[int],
    after: int,
    limit: int,
) -> Sequence[Row]:
    """Return the first rows whose `key` is above `after`, the last one of the previous page."""
    found = query.where(key > min(after, ID_MOST)).order_by(key).limit(limit)
    return session.scalars(found).all()


def existing(session: Session, table: type[Row], number: int, what: str) -> Row:
    """Return the row with this id; `what` names it in the error. Raises HTTPException(404)."""
    found: Any = session.get(table, number)
    if found is None:
        raise HTTPException(404, f"{what} id {number} does not exist")
    return found  # type: ignore[no-any-return]
