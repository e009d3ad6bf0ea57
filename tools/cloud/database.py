"""The cloud's memory: an engine, reading and writing transactions, and a few lasting values."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from .errors import CloudError
from .models import Base, Counter, Setting

_REVISION = "revision"


class Database:
    """SQLite in one file, in WAL mode: readers never wait for the writer."""

    def __init__(self, path: Path) -> None:
        # It holds the secret that signs URLs; SQLite's other files take this one's mode.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._engine = create_engine(f"sqlite:///{path}")
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)
        self._write_engine = self._engine.execution_options(ivota_write=True)
        try:
            with self._write_engine.begin() as connection:
                Base.metadata.create_all(connection)
        except DBAPIError as error:
            self._engine.dispose()
            raise CloudError(
                f"{path} cannot be opened as the cloud's database ({error.orig}): choose another "
                "--data folder, or move that file away"
            ) from error

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one moment and writes nothing."""
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
