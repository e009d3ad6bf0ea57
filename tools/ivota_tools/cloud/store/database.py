"""The cloud's database: transactions for reading and writing, and a few permanent values.

This is SQLite in a file or PostgreSQL at a URL. On SQLite, writing transactions are serialized:
data that one has read cannot change before it writes. On PostgreSQL, this holds for the
transactions of operators and of time-driven work; those that store reports run beside them and
beside each other, so all of them lock the devices that they change (device_lock.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session

from ..cloud_error import CloudError
from . import bulk_updates, change_numbers, migrations  # noqa: F401 (the first acts on sessions)
from .change_numbers import next_revision, settled
from .models import Counter, Setting

__all__ = ["Database", "access", "add", "next_revision", "revoke", "settled"]

_ACCESS = "access"
_WRITERS = 0x69766F7401  # advisory lock on PostgreSQL, of all writers except those of reports


class Database:
    """`where`: the path of an SQLite file, or `postgresql://USER:PASSWORD@HOST/NAME`.

    Migrates the tables first. Raises CloudError.
    """

    def __init__(self, where: Path | str) -> None:
        self.is_postgresql = isinstance(where, str)
        self.name = str(where) if isinstance(where, Path) else _hidden(where)
        self._engine = _sqlite(where) if isinstance(where, Path) else _postgresql(where)
        self._kind: type[Session] = Session
        self._info: dict[str, Any] = {}
        self._write_engine = self._engine.execution_options(ivota_write="alone")
        self._store_engine = self._engine.execution_options(ivota_write="beside others")
        try:
            migrating = self._engine.execution_options(ivota_write="migration")
            with migrating.begin() as connection:
                migrations.upgrade(connection)
        except DBAPIError as error:
            self._engine.dispose()
            said = " ".join(str(error.orig).split())
            if isinstance(where, Path):
                what = _sqlite_advice(said)
            else:
                what = (
                    "check that the server is running, and that the address, the user and the "
                    "password are correct"
                )
            raise CloudError(
                f"cannot open {self.name} as the cloud's database ({said}): {what}"
            ) from error
        except CloudError:
            self._engine.dispose()
            raise

    def connect(self) -> Connection:
        """Open a dedicated connection, for a lock that lasts as long as the connection."""
        return self._engine.connect()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a read-only session. With SQLite it sees one snapshot; with PostgreSQL, each
        statement sees its own.
        """
        with Session(self._engine, expire_on_commit=False) as session:
            yield session

    def watch(self, kind: type[Session], info: dict[str, Any]) -> None:
        """Use this class for writing sessions, with this information."""
        self._kind, self._info = kind, info

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a session that is committed at the end, or rolled back on an error."""
        with self._session(self._write_engine) as session:
            yield session

    @contextmanager
    def storing(self) -> Iterator[Session]:
        """Open a writing session for reports, which waits for other transactions only at locked
        devices.
        """
        with self._session(self._store_engine) as session:
            yield session

    @contextmanager
    def _session(self, engine: Engine) -> Iterator[Session]:
        made = self._kind(engine, expire_on_commit=False, info=dict(self._info))
        with made as session, session.begin():
            yield session

    def setting(self, name: str, make: Callable[[], str]) -> str:
        """Return a value that is created once per database."""
        with self.writing() as session:
            setting = session.get(Setting, name)
            if setting is None:
                setting = Setting(name=name, value=make())
                session.add(setting)
            return setting.value

    def close(self) -> None:
        self._engine.dispose()


def _sqlite_advice(said: str) -> str:
    """Return what to do about an error of SQLite. Never advise to move an intact database away."""
    if "not a database" in said:
        return "choose another --data directory, or move the file away"
    if "malformed" in said:
        return "restore a backup"
    if "disk" in said:
        return "free some space on its disk, and check the disk; the file may be intact"
    return "check the owner of the file and its directory, and whether another program uses it"


def add(session: Session, name: str, amount: int = 1) -> int:
    """Increase a counter and return its new value; others who increase it wait for the commit."""
    counters: dict[str, Counter] = session.info.setdefault("counters", {})
    counter = counters.get(name) or session.get(Counter, name, with_for_update=True)
    if counter is None:  # another process may create it at this moment
        dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
        new = dialect.insert(Counter.__table__).on_conflict_do_nothing()
        session.execute(new, {"name": name, "value": 0})
        counter = session.get_one(Counter, name, with_for_update=True)
    counters[name] = counter  # locked and read once per transaction
    counter.value += amount
    return counter.value


def revoke(session: Session) -> None:
    """Record that a permission was withdrawn, so that open connections are checked again."""
    add(session, _ACCESS)


def access(session: Session) -> int:
    """Return a number that changes whenever a permission is withdrawn."""
    return session.scalar(select(Counter.value).where(Counter.name == _ACCESS)) or 0


def _sqlite(path: Path) -> Engine:
    # It contains the secret that signs URLs; SQLite's other files copy its mode.
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
    """Return the URL without its password, for messages."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "the value of --database"


def _prepare(connection: Any, _record: object) -> None:
    # SQLAlchemy starts the transactions: the driver would start late, and not for reads.
    connection.isolation_level = None
    for pragma in (
        "busy_timeout = 10000",  # first: changing the mode waits for locks, too
        "journal_mode = WAL",
        # Reports are acknowledged after the commit, so a commit must reach the disk.
        "synchronous = FULL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A writing transaction takes the write lock at its start: if it requested the lock after
    # reading, SQLite could reject it without waiting.
    write = connection.get_execution_options().get("ivota_write")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    write = connection.get_execution_options().get("ivota_write")
    if write in ("alone", "migration"):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")
    if write in ("alone", "beside others"):
        change_numbers.begin(connection)  # once it need not wait any more
