"""Check that a database is still in use, and that it and its firmware files belong together."""

from __future__ import annotations

import logging
import secrets
import sqlite3
import time
from pathlib import Path

from sqlalchemy import select

from ..cloud_error import CloudError
from .database import Database
from .file_store import FileStore, FolderStore
from .models import Firmware, Setting

log = logging.getLogger("ivota.cloud")

NAME = "id"  # name of the note in the store, which backups do not copy
NOTE_S = 5.0  # until another process that has just claimed the database has written the note
SETTING = "data_folder"
MOVED = "moved_to"  # setting of an SQLite database: the PostgreSQL database that replaces it
STORE = "store"  # setting: the URL of the object store, "" for the data directory


def expect_own(database: Database, store: FileStore) -> None:
    """Raise CloudError if a database belongs to other files, or OSError.

    A restored or copied store that contains every file of the database is adopted.
    """
    in_folder = isinstance(store, FolderStore)
    place = "" if in_folder else store.name
    if _last_place(database) != place and (hashes := _hashes(database)):
        if missing := hashes - {each.sha256 for each in store.files()}:
            raise CloudError(
                f"{store.name} lacks {len(missing)} of the {len(hashes)} firmware files of this "
                "database: copy them with `ivota store copy`, or specify the right --store, "
                "--data or --database"
            )
    if in_folder:
        _expect_folder(database, store)
    else:
        _expect_prefix(database, store)
    with database.writing() as session:
        session.merge(Setting(name=STORE, value=place))


def _last_place(database: Database) -> str:
    with database.reading() as session:
        row = session.get(Setting, STORE)
        return row.value if row else ""


def _expect_folder(database: Database, store: FileStore) -> None:
    if not database.is_postgresql:
        return  # the database is a file in the same data directory
    mine = store.note(NAME)
    is_new = _is_new(database)
    known = database.setting(SETTING, lambda: mine or secrets.token_hex(16))
    hashes = _hashes(database)
    missing = hashes - {each.sha256 for each in store.files()}
    until = time.monotonic() + NOTE_S
    while not mine and not is_new and time.monotonic() < until:
        time.sleep(0.1)
        mine = store.note(NAME)
    if mine != known and (missing or not hashes) and not is_new:
        lacks = (
            f": {store.name} lacks {len(missing)} of the database's {len(hashes)} firmware files"
        )
        raise CloudError(
            f"the database belongs to another data directory{lacks if hashes else ''}. Specify "
            "the right --data or --database. If the directory to which the database belongs is "
            f"lost, write {known} to {store.name}/{NAME}"
        )
    store.keep_note(NAME, known)


def _expect_prefix(database: Database, store: FileStore) -> None:
    mine = store.note(NAME)
    known = database.setting(SETTING, lambda: secrets.token_hex(16))
    if mine == known:
        return
    hashes = _hashes(database)
    missing = hashes - {each.sha256 for each in store.files()}
    if mine and (missing or not hashes):
        raise CloudError(
            f"{store.name} belongs to another database: specify another prefix in --store, or "
            "the right --database or --data"
        )
    if missing:  # the folder was emptied: reports do not need the firmware
        log.error("%s lacks %d of the database's %d firmware files",
                  store.name, len(missing), len(hashes))  # fmt: skip
    store.keep_note(NAME, known)


def _hashes(database: Database) -> set[str]:
    with database.reading() as session:
        return set(
            session.scalars(select(Firmware.sha256).where(Firmware.deleted_at.is_(None))).all()
        )


def _is_new(database: Database) -> bool:
    """Claim the database for its files; return whether it was unclaimed."""
    made = secrets.token_hex(16)
    return database.setting(f"{SETTING}_taken", lambda: made) == made


def expect_not_moved(source: sqlite3.Connection, file: Path, but_to: str = "") -> None:
    """Raise CloudError if the fleet of this SQLite file has been moved, but to `but_to`."""
    try:
        query = "SELECT value FROM settings WHERE name = ?"
        row = source.execute(query, (MOVED,)).fetchone()
    except sqlite3.OperationalError:  # without the table, so it is older than this command
        return
    if row and row[0] != but_to:
        raise _moved(str(file), row[0])


def expect_current(database: Database) -> None:
    """Raise CloudError if the fleet of this database has been moved to another one."""
    if not database.is_postgresql:
        with database.reading() as session:
            if row := session.get(Setting, MOVED):
                raise _moved(database.name, row.value)


def _moved(name: str, to: str) -> CloudError:
    return CloudError(
        f"the fleet of {name} was moved to {to}: use --database with that database. (To return to "
        "SQLite, restore a backup made before the move, and specify another data directory)"
    )
