"""Store reports, pushes and changes of versions by month on PostgreSQL, to drop old months.

Deleting a million rows takes minutes and leaves a table of the same size. Dropping the partition
of a month takes milliseconds and gives the bytes back. Each month of UTC has its partition, which
is made in advance. Rows from before this division share one partition, and rows of a month that
has none, because a clock was wrong, are in the default partition. SQLite keeps plain tables.
"""

from __future__ import annotations

import calendar
import logging
import re
import time
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from .database import Database
from .retention import Keep

log = logging.getLogger("ivota.cloud")

TABLES = ("reports", "pushes", "changes")
AHEAD = 2  # months with a partition after this one
# Reports wait while a partition is made or dropped. If somebody holds a lock for longer than this,
# it is done later.
WAIT_MS = 300
# What foreign keys refer to is locked first, in the order in which reports lock.
_REFERRED = ("devices", "assignments")
_NAME = re.compile(r"(\w+?)_(before_)?(\d{4})_(\d\d)")
_LOCK_NOT_AVAILABLE = "55P03"


class Partition(NamedTuple):
    """The partition `name` of `table` has the rows before the time `end`, in Unix seconds."""

    table: str
    name: str
    end: float

    def is_first_of(self, table: str) -> bool:
        """Return whether this is the partition of the rows from before the division."""
        return self.table == table and self.name.startswith(f"{table}_before_")


def month(at: float, later: int = 0) -> tuple[int, int]:
    """Return the year and the month (1 to 12) of a time, or a number of months later."""
    then = time.gmtime(at)
    months = 12 * then.tm_year + then.tm_mon - 1 + later
    return months // 12, months % 12 + 1


def begin_of(year: int, number: int) -> int:
    """Return when a month begins, in Unix seconds."""
    return calendar.timegm((year, number, 1, 0, 0, 0))


def partitions(session: Session, table: str) -> list[Partition]:
    """Return a table's monthly partitions, oldest first."""
    names = session.scalars(
        text(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass(:of)"
        ),
        {"of": table},
    )
    found = []
    for name in names:
        if match := _NAME.fullmatch(name):
            year, number = int(match[3]), int(match[4])
            # That of the rows before the division is named after the month that follows them.
            after = (year, number) if match[2] else month(begin_of(year, number), 1)
            found.append(Partition(table, name, begin_of(*after)))
    return sorted(found, key=lambda each: each.end)


def keep_up(database: Database, keep: Keep, now: float) -> None:
    """Create the partitions of the coming months, and drop those of expired months."""
    if not database.is_postgresql:
        return
    with database.reading() as session:
        known = {each.name: each for table in TABLES for each in partitions(session, table)}
    wanted = [(table, month(now, later)) for table in TABLES for later in range(AHEAD + 1)]
    for table, (year, number) in wanted:
        name = f"{table}_{year:04}_{number:02}"
        begin, end = begin_of(year, number), begin_of(*month(begin_of(year, number), 1))
        first = next((each for each in known.values() if each.is_first_of(table)), None)
        covered = first is not None and first.end >= end
        if name not in known and not covered:
            _change(database, table, f"CREATE TABLE {name} PARTITION OF {table}"
                                     f" FOR VALUES FROM ({begin}) TO ({end})")  # fmt: skip
    if keep.reports_s is None:
        return
    for each in known.values():
        if each.end <= now - keep.reports_s:
            if _change(database, each.table, f"DROP TABLE {each.name}"):
                log.info("dropped %s: its rows are older than --keep-reports", each.name)


def _change(database: Database, table: str, statement: str) -> bool:
    """Make or drop a partition in a short transaction; return False if it has to wait."""
    try:
        with database.writing() as session:
            session.execute(text(f"SET LOCAL lock_timeout = {WAIT_MS}"))
            locked = ", ".join((*_REFERRED, table))
            session.execute(text(f"LOCK TABLE {locked} IN ACCESS EXCLUSIVE MODE"))
            session.execute(text(statement))
    except DBAPIError as error:
        # Also if the default partition has rows of a month: they stay there.
        if getattr(error.orig, "sqlstate", "") != _LOCK_NOT_AVAILABLE:
            log.warning("cannot change the partitions of %s: %s", table, error.orig)
        return False
    return True
