"""Move a fleet from the SQLite file of a data directory to an empty PostgreSQL database.

PostgreSQL commits all rows in one transaction, and only then is the file marked as moved. After a
power cut, either PostgreSQL is still empty, or it has the whole fleet and a second move only sets
the mark.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from ...common.progress import Begin, silent
from ..cloud_error import CloudError
from .backup import SQLITE
from .change_numbers import REVISION, SEQUENCE
from .database import Database
from .folder_lock import Alone
from .models import Base
from .store_ownership import MOVED, expect_not_moved

LOCK_S = 10  # to wait for another program that uses the PostgreSQL database
_FLEET = "url_secret"  # a setting that each cloud creates once, so it identifies the fleet
_ROWS = 1000  # between two steps of the progress


class Moved(NamedTuple):
    """The result of a move: where the fleet is now, and how many rows and devices it has there.

    `rows` is 0 if the fleet had been moved before.
    """

    database: str
    rows: int
    devices: int


def move(data: Path, url: str, progress: Begin = silent) -> Moved:
    """Copy all tables to PostgreSQL, and mark the file as moved; the cloud must not run meanwhile.

    The PostgreSQL database must be empty. An interrupted move has changed nothing there, and can
    be repeated. Raises CloudError.
    """
    file = data / SQLITE
    if not file.is_file():
        raise CloudError(
            f"the database {file} does not exist: specify the data directory with --data"
        )
    with contextlib.closing(Alone(data)), _errors(file):
        Database(file).close()  # gives it the newest tables
        with contextlib.closing(Database(url)) as to, contextlib.closing(_opened(file)) as source:
            expect_not_moved(source, file, but_to=to.name)
            source.execute("BEGIN")  # one snapshot for all tables
            with to.writing() as session:
                rows = _copy(source, session, to.name, progress)
                devices = session.scalar(text("SELECT count(*) FROM devices")) or 0
            source.rollback()
            with source:
                source.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (MOVED, to.name))
    return Moved(to.name, rows, devices)


def _opened(file: Path) -> sqlite3.Connection:
    source = sqlite3.connect(file)
    source.execute("PRAGMA synchronous = FULL")
    return source


def _copy(source: sqlite3.Connection, session: Session, name: str, progress: Begin) -> int:
    """Copy all rows in the session's transaction; return their number."""
    tables = Base.metadata.sorted_tables  # a table comes after those that it refers to
    session.execute(text(f"SET LOCAL lock_timeout = '{LOCK_S}s'"))
    every = ", ".join(_quoted(table.name) for table in tables)
    session.execute(text(f"LOCK TABLE {every} IN ACCESS EXCLUSIVE MODE"))
    fleet = f"SELECT value FROM settings WHERE name = '{_FLEET}'"
    found = source.execute(fleet).fetchone()
    if found and session.scalar(text(fleet)) == found[0]:
        return 0
    for table in tables:
        if session.scalar(text(f"SELECT EXISTS (SELECT FROM {_quoted(table.name)})")):
            raise CloudError(
                f"{name} is not empty: its table {table.name} has rows. Create a new database in "
                "PostgreSQL and specify it"
            )
    total = sum(_count(source, table) for table in tables)
    at = progress("moving the database", total)
    done = 0
    for table in tables:
        for copied in _copy_table(source, session, table):
            done += copied
            at(done / max(total, 1))
    _continue_numbers(source, session, tables)
    for table in tables:
        session.execute(text(f"ANALYZE {_quoted(table.name)}"))
    return done


def _copy_table(source: sqlite3.Connection, session: Session, table: Table) -> Iterator[int]:
    """Copy the rows of a table, and yield how many, up to a thousand at a time.

    Values need no conversion: PostgreSQL reads 0 and 1 as booleans, and JSON from text.
    """
    columns = ", ".join(_quoted(column.name) for column in table.columns)
    # The sequence of revisions takes the place of this counter.
    which = f" WHERE name != '{REVISION}'" if table.name == "counters" else ""
    rows = source.execute(f"SELECT {columns} FROM {_quoted(table.name)}{which}")
    cursor: Any = session.connection().connection.cursor()
    with cursor, cursor.copy(f"COPY {_quoted(table.name)} ({columns}) FROM STDIN") as copy:
        while some := rows.fetchmany(_ROWS):
            for row in some:
                copy.write_row([_storable(value) for value in row])
            yield len(some)


def _storable(value: Any) -> Any:
    # PostgreSQL has no NUL in a text. The cloud replaces it in reports in the same way.
    return value.replace("\0", "?") if isinstance(value, str) else value


def _continue_numbers(source: sqlite3.Connection, session: Session, tables: list[Table]) -> None:
    """Set PostgreSQL's sequences behind the highest ids and the last revision."""
    for table in tables:
        key = next(iter(table.primary_key.columns)).name
        owned = {"table": _quoted(table.name), "key": key}
        sequence = session.scalar(text("SELECT pg_get_serial_sequence(:table, :key)"), owned)
        if sequence:
            session.execute(
                text(
                    f"SELECT setval('{sequence}', max({_quoted(key)})) FROM {_quoted(table.name)}"
                    " HAVING count(*) > 0"
                )
            )
    query = "SELECT max(value) FROM counters WHERE name = ?"
    (counted,) = source.execute(query, (REVISION,)).fetchone()
    session.execute(
        text(
            f"SELECT setval('{SEQUENCE}', greatest(1, CAST(:counted AS bigint),"
            " (SELECT max(revision) FROM devices)))"
        ),
        {"counted": counted},
    )


def _count(source: sqlite3.Connection, table: Table) -> int:
    (count,) = source.execute(f"SELECT count(*) FROM {_quoted(table.name)}").fetchone()
    return int(count)


def _quoted(name: str) -> str:
    return f'"{name}"'


@contextlib.contextmanager
def _errors(file: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise CloudError(f"cannot read {file} ({error}): restore a backup of it") from None
    except _postgresql_errors() as error:
        raise CloudError(f"cannot move the fleet to PostgreSQL: {_reason(error)}") from None


def _postgresql_errors() -> tuple[type[Exception], ...]:
    """Return the errors of SQLAlchemy and of its library, which may not be installed."""
    try:
        import psycopg
    except ImportError:
        return (DBAPIError,)
    return (DBAPIError, psycopg.Error)


def _reason(error: Exception) -> str:
    cause: Any = getattr(error, "orig", None) or error
    told = getattr(cause, "diag", None)
    if told is None or not told.message_primary:
        return " ".join(str(cause).split())
    if told.sqlstate == "55P03":
        return "another program uses the database: stop it first"
    return f"{told.message_primary} ({told.context})" if told.context else told.message_primary
