"""Whether reports are being stored: links alone do not tell, a write does."""

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
FRESH_S = 2.0  # for so long the last answer is good
WRITTEN = "written_at"


class Health(NamedTuple):
    """`problem`: why reports are not stored, in a sentence; None where they are.

    `standby`: another process stores them.
    """

    problem: str | None
    connected: bool
    standby: bool

    @property
    def ok(self) -> bool:
        return self.problem is None


Checks = Callable[[], Health]


class Probe:
    """Tries a write, one at a time, however many ask."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._began = self._ended = float("-inf")
        self._running = False
        self._problem: str | None = None

    def problem(self) -> str | None:
        """Why the database takes no write; None where it does. Returns within about a second."""
        with self._lock:
            if not self._running and time.monotonic() - self._ended > FRESH_S:
                self._running, self._began = True, time.monotonic()
                self._done.clear()
                threading.Thread(target=self._write, name="probe", daemon=True).start()
            left_s = max(self._began + WAIT_S - time.monotonic(), 0) if self._running else 0
        # Who asks later does not wait as long: a write that hangs is told at once.
        if not self._done.wait(left_s):
            silent = time.monotonic() - self._began
            return f"the database has taken no write for {max(silent, WAIT_S):.0f} s"
        return self._problem

    def _write(self) -> None:
        problem = None
        try:
            with self._database.writing() as session:
                session.merge(Setting(name=WRITTEN, value=f"{time.time():.0f}"))
        except SQLAlchemyError as error:
            problem = database_problem(error)
        except Exception as error:  # closed meanwhile
            problem = f"the database cannot be used: {error}"
        with self._lock:
            self._problem, self._ended, self._running = problem, time.monotonic(), False
        self._done.set()


def database_problem(error: SQLAlchemyError) -> str:
    said = " ".join(str(getattr(error, "orig", None) or error).split())
    return f"the database takes no reports: {said}"


def no_database(error: SQLAlchemyError) -> str:
    """The same, for one request."""
    said = " ".join(str(getattr(error, "orig", None) or error).split())
    return f"the database cannot be used now: {said}"


def routes(check: Checks) -> APIRouter:
    """For those who watch over the process, without a token."""
    router = APIRouter()

    @router.get("/healthz", include_in_schema=False)
    def get_alive() -> JSONResponse:
        """It answers, so it is alive."""
        return JSONResponse({"ok": True})

    @router.get("/readyz", include_in_schema=False)
    def get_ready() -> JSONResponse:
        """503 unless reports are being stored, here or by the process that this one stands by."""
        found = check()
        answer = {"ok": found.ok, "problem": found.problem, "standby": found.standby}
        return JSONResponse(answer, 200 if found.ok else 503)

    return router
