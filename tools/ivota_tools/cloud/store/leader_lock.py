"""Elect the leading process, which sends pushes and runs campaigns, with a lock in the database.

On PostgreSQL, this is an advisory lock of a connection. If its process is killed, the lock is
released, and another process takes over within about a second. SQLite has only one process.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from ..cloud_error import CloudError
from .database import Database

log = logging.getLogger("ivota.cloud")

LOCK = 0x69766F7402
LOOK_S = 0.5  # between two tries to take the lock, and two checks that it is still held


class Leader:
    """`take_over` starts what only one process does, and `let_go` stops it, any number of times.

    Each is called from one thread at a time. `take_over` may raise CloudError.
    """

    def __init__(
        self, database: Database, take_over: Callable[[], None], let_go: Callable[[], None]
    ) -> None:
        self._database = database
        self._take_over, self._let_go = take_over, let_go
        self._connection: Connection | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.leads = False

    def start(self) -> None:
        """Start as the leader or on standby. Raises CloudError if leading fails."""
        if not self._database.is_postgresql:
            self.leads = True
            self._take_over()
            return
        try:
            if self._lock():
                self._begin()
        except SQLAlchemyError as error:
            raise CloudError(f"cannot lock {self._database.name}: {error}") from None
        self._thread = threading.Thread(target=self._run, name="leader", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop leading, and let another process lead."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        self._end()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                if self.leads:
                    assert self._connection
                    self._connection.execute(text("SELECT 1"))
                elif self._lock():
                    log.info("this process is now the leader")
                    self._begin()
            except (SQLAlchemyError, CloudError) as error:
                log.warning("this process is not the leader: %s", error)
                self._end()

    def _begin(self) -> None:
        self.leads = True
        try:
            self._take_over()
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        if self.leads:
            self.leads = False
            self._let_go()
        if self._connection is not None:
            # Never return it to the pool: the lock belongs to the connection.
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _lock(self) -> bool:
        if self._connection is None:
            connection = self._database.connect()
            # Use no transaction: it would block vacuuming for weeks.
            self._connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        return bool(self._connection.scalar(text(f"SELECT pg_try_advisory_lock({LOCK})")))
