"""The cloud's memory: an engine, reading and writing transactions, and a few lasting values.

SQLite in one file, or PostgreSQL by URL. On both, writing transactions come one after the other:
what is read in one cannot have changed when it is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session

from ..cloud_error import CloudError
from . import migrations
from .models import Counter, Setting

_REVISION = "revision"
_ACCESS = "access"
_WRITERS = 0x69766F7401  # the advisory lock that writing transactions on PostgreSQL take


class Database:
    """`where`: the path of a SQLite file, or `postgresql://USER:PASSWORD@HOST/NAME`.

    Brings the tables up to date first. Raises CloudError.
    """

    def __init__(self, where: Path | str) -> None:
        self.is_postgresql = isinstance(where, str)
        self.name = str(where) if isinstance(where, Path) else _hidden(where)
        self._engine = _sqlite(where) if isinstance(where, Path) else _postgresql(where)
        self._write_engine = self._engine.execution_options(ivota_write=True)
        try:
            with self._write_engine.begin() as connection:
                migrations.upgrade(connection)
        except DBAPIError as error:
            self._engine.dispose()
            said = " ".join(str(error.orig).split())
            if isinstance(where, Path):
                what = "choose another --data directory, or move the file away"
            else:
                what = "check that the server is running, and check address, user and password"
            raise CloudError(
                f"cannot open {self.name} as the cloud's database ({said}): {what}"
            ) from error
        except CloudError:
            self._engine.dispose()
            raise

    def connect(self) -> Connection:
        """A connection of its own, for who holds a lock as long as it lasts."""
        return self._engine.connect()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that writes nothing. With SQLite it sees one moment, with PostgreSQL each
        statement sees its own.
        """
        with Session(self._engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session that is committed at the end, or leaves no trace where an error passes."""
        with Session(self._write_engine, expire_on_commit=False) as session, session.begin():
            yield session

    def setting(self, name: str, make: Callable[[], str]) -> str:
        """A value made once per database and kept for good."""
        with self.writing() as session:
            setting = session.get(Setting, name)
            if setting is None:
                setting = Setting(name=name, value=make())
                session.add(setting)
            return setting.value

    def close(self) -> None:
        self._engine.dispose()


def add(session: Session, name: str, amount: int = 1) -> int:
    """Counts up and returns the counter's new value."""
    counters: dict[str, Counter] = session.info.setdefault("counters", {})
    counter = counters.get(name) or session.get(Counter, name, with_for_update=True)
    if counter is None:
        counter = Counter(name=name, value=0)
        session.add(counter)
    counters[name] = counter  # locked and read once per transaction
    counter.value += amount
    return counter.value


def next_revision(session: Session) -> int:
    """A number above all that were given out; watchers ask for what is above the last they saw."""
    return add(session, _REVISION)


def revoke(session: Session) -> None:
    """Somebody may less than before: whoever is connected is asked again who they are."""
    add(session, _ACCESS)


def access(session: Session) -> int:
    """Another number whenever somebody may less than before."""
    return session.scalar(select(Counter.value).where(Counter.name == _ACCESS)) or 0


def _sqlite(path: Path) -> Engine:
    # It holds the secret that signs URLs; SQLite's other files take this one's mode.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    engine = create_engine(f"sqlite:///{path}", pool_size=40)  # as many as there are threads
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _postgresql(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() != "postgresql":
            raise CloudError(f"--database must be a postgresql:// URL, not {_hidden(url)}")
        parsed = parsed.set(drivername="postgresql+psycopg")
        engine = create_engine(parsed, pool_pre_ping=True, pool_size=10, max_overflow=30)
    except (ArgumentError, NoSuchModuleError):
        raise CloudError(f"--database must be a postgresql:// URL, not {_hidden(url)}") from None
    except ImportError:
        raise CloudError(
            "PostgreSQL needs a library that is not installed: pip install 'psycopg[binary]'"
        ) from None
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def _hidden(url: str) -> str:
    """The URL without its password, for messages."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "the value of --database"


def _prepare(connection: Any, _record: object) -> None:
    # SQLAlchemy begins the transactions: the driver would begin late, and not for reads.
    connection.isolation_level = None
    for pragma in (
        "journal_mode = WAL",
        # A report is acknowledged once it is committed, so a commit must have reached the disk.
        "synchronous = FULL",
        "foreign_keys = ON",
        "busy_timeout = 10000",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A transaction that will write takes the write lock at once: one that asked for it later,
    # after reading, could be refused without a wait.
    write = connection.get_execution_options().get("ivota_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get("ivota_write"):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")
