"""Delete the files that no firmware needs, so that at no moment a firmware lacks its file.

A file and its row cannot be stored in one transaction. So a row of `file_sweeps` is committed
before the file is stored, and is deleted in the transaction that adds the firmware. If the process
is killed in between, the row remains, and the file is deleted a day later. Deleting a firmware
adds such a row in its transaction, and the file is deleted afterwards.

A sweep claims the row before it deletes the file. An upload of the same contents waits for it.
"""

from __future__ import annotations

import logging
import threading
import time

from sqlalchemy import or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from . import missing_chips
from .database import Database
from .file_store import FileStore
from .models import FileSweep, Firmware

log = logging.getLogger("ivota.cloud")

UPLOAD_S = 86400.0  # an upload that takes longer is stored again
CLAIM_S = 600.0  # after this time, the process that claimed the row is gone
WAIT_S = 10.0  # how long an upload waits for a sweep of the same contents
EVERY_S = 60.0
ROWS_MOST = 100  # in one sweep


def announce(database: Database, sha256: str) -> bool:
    """Record that a file will be stored; return False if it is being deleted at the moment."""
    give_up = time.monotonic() + WAIT_S
    while True:
        now = time.time()
        with database.writing() as session:
            row = _row(session, sha256)
            if row is None:
                session.add(FileSweep(sha256=sha256, at=now + UPLOAD_S))
                return True
            if not _is_claimed(row, now):
                row.at, row.claimed_at = now + UPLOAD_S, None
                return True
        if time.monotonic() >= give_up:
            return False
        time.sleep(0.1)


def settle(session: Session, sha256: str) -> bool:
    """Record that a firmware needs the file now, in the transaction that adds the firmware.

    Returns False if the file may have been deleted meanwhile.
    """
    row = _row(session, sha256)
    if row is None:  # another upload of the same contents was faster
        return is_needed(session, sha256)
    if row.claimed_at is not None:
        return False
    session.delete(row)
    return True


def release(session: Session, sha256: str, now: float) -> None:
    """Record that a firmware no longer needs the file, in the transaction that deletes it."""
    if is_needed(session, sha256):
        return
    row = _row(session, sha256)
    if row is None:
        session.add(FileSweep(sha256=sha256, at=now))
    # Otherwise an upload or a sweep of the same contents is under way, and sees to the file.


def is_needed(session: Session, sha256: str) -> bool:
    found = select(Firmware.id).where(Firmware.sha256 == sha256, Firmware.deleted_at.is_(None))
    return session.scalar(found.limit(1).with_for_update()) is not None


def sweep(database: Database, store: FileStore) -> int:
    """Delete the files that are due; return their number. Raises SQLAlchemyError."""
    now = time.time()
    stale = or_(FileSweep.claimed_at.is_(None), FileSweep.claimed_at < now - CLAIM_S)
    with database.reading() as session:
        due = session.scalars(
            select(FileSweep.sha256).where(FileSweep.at <= now, stale).limit(ROWS_MOST)
        ).all()
    return sum(_sweep_one(database, store, sha256) for sha256 in due)


def _sweep_one(database: Database, store: FileStore, sha256: str) -> bool:
    now = time.time()
    with database.writing() as session:
        row = _row(session, sha256)
        if row is None or row.at > now or _is_claimed(row, now):
            return False
        if is_needed(session, sha256):
            session.delete(row)
            return False
        row.claimed_at = now
    try:
        store.delete(sha256)
    except OSError as error:
        log.warning("cannot delete the file of deleted firmware: %s", error)
        with database.writing() as session:
            if (row := _row(session, sha256)) and row.claimed_at == now:
                row.claimed_at, row.at = None, now + EVERY_S
        return False
    with database.writing() as session:
        if (row := _row(session, sha256)) and row.claimed_at == now:
            session.delete(row)
    return True


def _row(session: Session, sha256: str) -> FileSweep | None:
    return session.get(FileSweep, sha256, with_for_update=True)


def _is_claimed(row: FileSweep, now: float) -> bool:
    return row.claimed_at is not None and abs(now - row.claimed_at) < CLAIM_S


class FileSweeper:
    """A thread that deletes the files that interrupted uploads and deletions have left."""

    def __init__(self, database: Database, store: FileStore) -> None:
        self._database, self._store = database, store
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                missing_chips.repair(self._database, self._store)
                sweep(self._database, self._store)
                self._store.tidy()
            except (OSError, SQLAlchemyError) as error:
                log.warning("cannot look for files to delete: %s", error)
            except Exception:
                log.exception("cannot delete files")
            self._stop.wait(EVERY_S)
