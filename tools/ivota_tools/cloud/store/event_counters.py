"""Count messages and other events without waiting: each transaction inserts what it adds.

The sum of a name's rows and its row of `counters` is the number. The leading process sums up the
rows once there are many.
"""

from __future__ import annotations

from collections import Counter as Sums
from collections.abc import Mapping

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from .models import Counter, CounterChange

ROWS_MOST = 1000  # before `fold` sums them up


def count(session: Session, changes: Mapping[str, int]) -> None:
    """Add to the numbers with these names."""
    if rows := [{"name": name, "change": change} for name, change in changes.items() if change]:
        session.execute(insert(CounterChange.__table__), rows)  # type: ignore[arg-type]


def totals(session: Session) -> dict[str, int]:
    """Return all numbers."""
    # In one statement: the rows may be summed up between two.
    both = (
        select(Counter.name, Counter.value)
        .union_all(select(CounterChange.name, CounterChange.change))
        .subquery()
    )
    rows = session.execute(select(both.c.name, func.sum(both.c.value)).group_by(both.c.name))
    return {name: int(value) for name, value in rows.tuples()}


def are_many(session: Session) -> bool:
    """Return whether `fold` has anything to do."""
    some = select(CounterChange.id).order_by(CounterChange.id).offset(ROWS_MOST).limit(1)
    return session.scalar(some) is not None


def fold(session: Session) -> None:
    """Replace many rows by their sums; only one process at a time may do this."""
    if not are_many(session):
        return
    gone = session.execute(
        delete(CounterChange).returning(CounterChange.name, CounterChange.change),
        execution_options={"synchronize_session": False},
    ).tuples()
    sums: Sums[str] = Sums()
    for name, change in gone:
        sums[name] += change
    for name, change in sums.items():
        counter = session.get(Counter, name)
        if counter is None:
            session.add(Counter(name=name, value=change))
        else:
            counter.value += change
