"""Backup and restore: a copy of the database as of one moment, then of the files that it names."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from ..cloud_error import CloudError
from .folder_lock import Alone

SQLITE, DUMP, FIRMWARE = "ivota.db", "ivota.dump", "firmware"


class Copied(NamedTuple):
    """What a backup or a restore has written: the database's file, and how many firmware files."""

    database: Path
    firmware: int


def back_up(data: Path, database: str | None, folder: Path) -> Copied:
    """Into `folder`, which may hold an older backup; while the cloud runs. Raises CloudError.

    The files come second: what a row names was there before the row, and is never changed.
    """
    with _errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy = folder / (SQLITE if database is None else DUMP)
        part = copy.with_suffix(".part")
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)  # it holds the secrets of devices
        if database is None:
            _copy_sqlite(data / SQLITE, part)
        else:
            _postgresql("pg_dump", database, "--format=custom", f"--file={part}")
        part.replace(copy)
        return Copied(copy, _copy_files(data / FIRMWARE, folder / FIRMWARE))


def restore(folder: Path, data: Path, database: str | None) -> Copied:
    """Back to where a cloud starts from; it must not run meanwhile. Raises CloudError."""
    copy = folder / (SQLITE if database is None else DUMP)
    if not copy.is_file():
        kept = "a file" if database is None else "PostgreSQL"
        raise CloudError(
            f"{folder} contains no backup of a database in {kept} ({copy.name} is missing): "
            "specify the folder that `ivota backup` wrote to"
        )
    with _errors(data):
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if database is None:
            with contextlib.closing(Alone(data)):
                return _restore_sqlite(folder, data)
        # The files first: a cloud that is started too early lacks rows, not what they name.
        count = _copy_files(folder / FIRMWARE, data / FIRMWARE)
        options = "--clean", "--if-exists", "--no-owner", "--single-transaction"
        _postgresql("pg_restore", database, *options, str(copy))
        return Copied(copy, count)


def _restore_sqlite(folder: Path, data: Path) -> Copied:
    there, part = data / SQLITE, data / "restore.part"
    # What is left of another database in the log beside it, SQLite would write into this one.
    for name in (SQLITE, f"{SQLITE}-wal", f"{SQLITE}-shm"):
        if (data / name).exists():
            raise CloudError(
                f"{data / name} already exists: move it away, together with any {SQLITE}, "
                f"{SQLITE}-wal and {SQLITE}-shm"
            )
    count = _copy_files(folder / FIRMWARE, data / FIRMWARE)
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    _copy_sqlite(folder / SQLITE, part)
    part.replace(there)
    return Copied(there, count)


def _copy_sqlite(source: Path, to: Path) -> None:
    if not source.is_file():
        raise CloudError(
            f"the database {source} does not exist: specify the data directory with --data"
        )
    uri = f"{source.resolve().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as one:
        with contextlib.closing(sqlite3.connect(to)) as other:
            one.backup(other)


def _copy_files(source: Path, to: Path) -> int:
    """Those that are not there yet; a file's name is its hash."""
    to.mkdir(mode=0o700, parents=True, exist_ok=True)
    count = 0
    for file in sorted(source.glob("*.bin")):
        copy = to / file.name
        if not copy.exists():
            part = to / "copy.part"
            shutil.copyfile(file, part)
            part.replace(copy)
            count += 1
    return count


def _postgresql(program: str, database: str, *options: str) -> None:
    try:
        url = make_url(database)
    except ArgumentError:
        url = None
    if url is None or url.get_backend_name() != "postgresql":
        raise CloudError("--database must be a postgresql:// URL")
    # The password goes by the environment: everybody sees the words of a command.
    environment = {**os.environ, "PGPASSWORD": str(url.password)} if url.password else None
    where = url.set(drivername="postgresql", password=None).render_as_string()
    try:
        done = subprocess.run(
            [program, f"--dbname={where}", *options],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        raise CloudError(
            f"{program} is not installed: install postgresql-client in the server's version"
        ) from None
    if done.returncode:
        raise CloudError(f"{program} has failed: {done.stderr.strip()}")


@contextlib.contextmanager
def _errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise CloudError(f"cannot copy the database: {error}") from None
    except OSError as error:
        raise CloudError(
            f"cannot use {error.filename or folder} ({error.strerror}): choose another folder "
            "or free up space"
        ) from None
