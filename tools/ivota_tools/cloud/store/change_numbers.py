"""Number the changes of devices, so that a reader can ask for the changes that it has not seen.

On SQLite, one transaction writes at a time, and a counter's row holds the number. On PostgreSQL,
many write at once. They take their numbers from a sequence and commit in any order: the change
with number 8 may appear before number 7. `settled` therefore returns the number up to which no
change can appear any more. To know it, each writing transaction holds a shared advisory lock whose
key is the last number that was given before it began. Numbers are skipped, but never repeated.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, bindparam, func, select, text, update
from sqlalchemy.orm import Session

from .models import Counter, Device

REVISION = "revision"  # the counter on SQLite
SEQUENCE = "revisions"  # on PostgreSQL
_MARK = 1 << 62  # added to the keys, so that no other lock has them
_BLOCK_MOST = 512  # numbers that a transaction takes at once

_BEGIN = text(
    "SELECT pg_advisory_xact_lock_shared(CAST(:mark AS bigint) + last_value),"
    # A process that hangs in a transaction must not delay the events of the others.
    f" set_config('idle_in_transaction_session_timeout', '60s', true) FROM {SEQUENCE}"
)
# The sequence is read first. A transaction whose lock is missing in the list began later, and its
# numbers are above this one.
_LAST = text(f"SELECT last_value FROM {SEQUENCE}")
_OLDEST = text(
    "SELECT min((classid::bigint << 32) + objid::bigint) FROM pg_locks WHERE locktype = 'advisory'"
    " AND objsubid = 1 AND classid::bigint >= 1 << 30 AND database ="
    " (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def begin(connection: Connection) -> None:
    """Begin a writing transaction on PostgreSQL, before it takes a number."""
    connection.execute(_BEGIN, {"mark": _MARK})


def next_revision(session: Session) -> int:
    """Return a number for a change; all numbers that a reader knows are lower."""
    if session.get_bind().dialect.name != "postgresql":
        return _count(session)
    block: list[int] = session.info.setdefault("revisions", [])
    if not block:
        # A transaction that has changed many devices changes more of them.
        size = session.info["revision block"] = min(
            4 * session.info.get("revision block", 0) or 1, _BLOCK_MOST
        )
        reserve(session, size)
    return block.pop()


def reserve(session: Session, count: int) -> None:
    """Take the numbers of so many changes at once."""
    if count and session.get_bind().dialect.name == "postgresql":
        taken = text(f"SELECT nextval('{SEQUENCE}') FROM generate_series(1, :count)")
        block = session.info.setdefault("revisions", [])
        block[:0] = reversed(session.scalars(taken, {"count": count}).all())


def renumber(session: Session, ids: Collection[int]) -> None:
    """Give each of these devices the number of a change, in one statement."""
    if session.get_bind().dialect.name == "postgresql":
        change = update(Device).where(Device.id.in_(ids))
        change = change.values(revision=func.nextval(SEQUENCE))
        session.execute(change, execution_options={"synchronize_session": False})
    elif ids:
        table = Device.__table__
        change = update(Device).where(table.c.id == bindparam("device"))  # for each of the rows
        rows = [{"device": number, "revision": next_revision(session)} for number in ids]
        session.connection().execute(change, rows)


def settled(session: Session) -> int:
    """Return the highest number up to which every change has been committed."""
    if session.get_bind().dialect.name != "postgresql":
        return session.scalar(select(Counter.value).where(Counter.name == REVISION)) or 0
    last: int = session.scalar(_LAST) or 0
    oldest: int | None = session.scalar(_OLDEST)
    return last if oldest is None else min(last, oldest - _MARK)


def _count(session: Session) -> int:
    counter: Counter | None = session.info.get("revision counter")
    counter = counter or session.get(Counter, REVISION)
    if counter is None:
        counter = Counter(name=REVISION, value=0)
        session.add(counter)
    session.info["revision counter"] = counter  # read once per transaction
    counter.value += 1
    return counter.value
