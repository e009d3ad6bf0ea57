"""Write many changed rows of a table with one statement.

SQLAlchemy sends one statement for consecutive rows that change the same columns. In a batch of
reports, different devices change different columns, so nearly every row would need its own
statement. This module adds the missing columns to each row, with their current values. They are
current only if the transaction has locked the device, so other rows are left as they are.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import event, inspect
from sqlalchemy.orm import Session, attributes

from . import device_lock
from .models import Assignment, Device


@event.listens_for(Session, "before_flush")
def _change_the_same(session: Session, _context: object, _instances: object) -> None:
    changed: defaultdict[type[Any], list[tuple[Any, set[str]]]] = defaultdict(list)
    for row in session.dirty:
        if _is_locked(session, row):
            state: Any = inspect(row)
            before, now = state.committed_state, vars(row)
            columns = {
                name
                for name in state.mapper.column_attrs.keys() & before.keys() & now.keys()
                if before[name] != now[name]
            }
            if columns:
                changed[type(row)].append((row, columns))
    for rows in changed.values():
        every = set().union(*(columns for _, columns in rows))
        for row, columns in rows:
            for name in (every - columns) & vars(row).keys():
                attributes.flag_modified(row, name)


def _is_locked(session: Session, row: object) -> bool:
    if isinstance(row, Assignment):
        return device_lock.is_locked(session, row.device_id)
    return isinstance(row, Device) and device_lock.is_locked(session, row.id)
