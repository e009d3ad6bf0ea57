"""Check whether reports are being stored, with a test write to the database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from .store.database import Database
from .store.models import Setting

WAIT_S = 1.0  # for a write
FRESH_S = 2.0  # lifetime of a cached result
WRITTEN = "written_at"


class Health(NamedTuple):
    """The result of a check. `problem`: why reports are not stored, in a sentence, or None.

    `standby`: another process stores the reports. `store`: why the cloud cannot store or read
    firmware, or None; reports do not need it.
    """

    problem: str | None
    connected: bool
    standby: bool
    store: str | None = None

    @property
    def ok(self) -> bool:
        return self.problem is None


Checks = Callable[[], Health]


class Probe:
    """Test the database with one write at a time, however many requests arrive."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._began = self._ended = float("-inf")
        self._running = False
        self._problem: str | None = None

    def problem(self) -> str | None:
        """Return why a write fails, or None if it works. Takes at most about a second."""
        with self._lock:
            if not self._running and time.monotonic() - self._ended > FRESH_S:
                self._running, self._began = True, time.monotonic()
                self._done.clear()
                threading.Thread(target=self._write, name="probe", daemon=True).start()
            left_s = max(self._began + WAIT_S - time.monotonic(), 0) if self._running else 0
        # Later callers do not wait as long: a hanging write is reported immediately.
        if not self._done.wait(left_s):
            silent = time.monotonic() - self._began
            return f"the database has not accepted a write for {max(silent, WAIT_S):.0f} s"
        return self._problem

    def _write(self) -> None:
        problem = None
        try:
            with self._database.writing() as session:
                session.merge(Setting(name=WRITTEN, value=f"{time.time():.0f}"))
        except SQLAlchemyError as error:
            problem = database_problem(error)
        except Exception as error:  # closed in the meantime
            problem = f"the database is unavailable: {error}"
        with self._lock:
            self._problem, self._ended, self._running = problem, time.monotonic(), False
        self._done.set()


def database_problem(error: SQLAlchemyError) -> str:
    said = " ".join(str(getattr(error, "orig", None) or error).split())
    return f"the database cannot store reports: {said}"


def no_database(error: SQLAlchemyError) -> str:
    """Turn a database error of one request into a response."""
    said = " ".join(str(getattr(error, "orig", None) or error).split())
    return f"the database is unavailable: {said}"


def routes(check: Checks) -> APIRouter:
    """Create the routes for monitoring, which need no token."""
    router = APIRouter()

    @router.get("/healthz", include_in_schema=False)
    def get_alive() -> JSONResponse:
        """Respond with 200: the process is alive."""
        return JSONResponse({"ok": True})

    @router.get("/readyz", include_in_schema=False)
    def get_ready() -> JSONResponse:
        """Respond with 503 unless this process or the active one is storing reports."""
        found = check()
        answer = {
            "ok": found.ok,
            "problem": found.problem,
            "standby": found.standby,
            "store": found.store,
        }
        return JSONResponse(answer, 200 if found.ok else 503)

    return router
