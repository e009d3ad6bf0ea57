"""Back up and restore a snapshot of the database, and then its firmware files."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ...common.progress import Begin, silent, watched
from ..cloud_error import CloudError
from . import postgresql_tools
from .file_store import StoreError
from .folder_lock import Alone
from .store_ownership import STORE, expect_not_moved

SQLITE, DUMP, FIRMWARE = "ivota.db", "ivota.dump", "firmware"
RESTORED = "restored"  # a setting of a restored database, until the cloud starts
NOTE = "last-backup"  # in the data directory: an empty file, as old as the last backup


class Copied(NamedTuple):
    """The result of a backup or restore: the database's file and the number of firmware files.

    `paused` are the campaigns that a restore has paused. `elsewhere` is the object store that has
    the firmware, if the backup has none.
    """

    database: Path
    firmware: int
    paused: tuple[str, ...] = ()
    elsewhere: str | None = None


def back_up(
    data: Path,
    database: str | None,
    folder: Path,
    progress: Begin = silent,
    store: str | None = None,
) -> Copied:
    """Back up into `folder`, which may contain an older backup, even while the cloud runs.

    `store` is the URL of the object store that has the firmware files.

    The files are copied after the database, because a row's file exists before the row and never
    changes. Raises CloudError.
    """
    with _errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        copy = folder / (SQLITE if database is None else DUMP)
        part = copy.with_suffix(".part")
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)  # it contains the devices' secrets
        if database is None:
            _copy_sqlite(data / SQLITE, part, progress)
        else:
            postgresql_tools.dump(database, part, progress)
        part.replace(copy)
        if store is not None:
            done = Copied(copy, _copy_objects(store, str(folder / FIRMWARE), progress))
        else:
            elsewhere = _store_of(copy if database is None else database)
            count = 0
            if not elsewhere:
                count = _copy_files(data / FIRMWARE, folder / FIRMWARE, progress)
            done = Copied(copy, count, elsewhere=elsewhere)
    # Without this note the backup is good all the same; the metric then says that it is old.
    with contextlib.suppress(OSError):
        (data / NOTE).touch(mode=0o600)
    return done


def last_backup(data: Path) -> float:
    """Return when the last backup of this data directory succeeded, or 0."""
    try:
        return (data / NOTE).stat().st_mtime
    except OSError:
        return 0.0


def restore(
    folder: Path,
    data: Path,
    database: str | None,
    progress: Begin = silent,
    store: str | None = None,
) -> Copied:
    """Restore a backup; the cloud must not run meanwhile. Raises CloudError.

    With `store`, firmware files that this object store lacks are copied there.
    """
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
                return _restore_sqlite(folder, data, progress, store)
        # Copy the files first: a cloud that is started too early lacks rows, not files.
        count = _copy_back(folder / FIRMWARE, data / FIRMWARE, progress, store)
        postgresql_tools.restore(database, copy, progress)
        return Copied(copy, count, _pause_postgresql(database))


def _restore_sqlite(folder: Path, data: Path, progress: Begin, store: str | None) -> Copied:
    there, part = data / SQLITE, data / "restore.part"
    # SQLite would apply a leftover write-ahead log to this database.
    for name in (SQLITE, f"{SQLITE}-wal", f"{SQLITE}-shm"):
        if (data / name).exists():
            raise CloudError(
                f"{data / name} already exists: move it away, together with any {SQLITE}, "
                f"{SQLITE}-wal and {SQLITE}-shm"
            )
    count = _copy_back(folder / FIRMWARE, data / FIRMWARE, progress, store)
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    _copy_sqlite(folder / SQLITE, part, progress)
    with contextlib.closing(sqlite3.connect(part)) as one, one:
        tables = "SELECT name FROM sqlite_master WHERE name = 'campaigns'"
        paused = _pause(one) if one.execute(tables).fetchone() else ()
        one.execute(_MARK)
    part.replace(there)
    return Copied(there, count, paused)


def _pause_postgresql(url: str) -> tuple[str, ...]:
    import psycopg

    with psycopg.connect(url) as one:
        one.execute(_MARK)
        found = one.execute("SELECT to_regclass('campaigns')").fetchone()
        return _pause(one) if found and found[0] else ()


_MARK = (
    f"INSERT INTO settings (name, value) VALUES ('{RESTORED}', '1') ON CONFLICT (name) DO NOTHING"
)


def _pause(one: Any) -> tuple[str, ...]:
    """Pause the restored campaigns until an operator has reviewed them; return their names.

    A campaign may have ended since the backup, or an operator may have cancelled it.
    """
    active = "SELECT name FROM campaigns WHERE state IN ('running', 'scheduled') ORDER BY id"
    names = tuple(str(name) for (name,) in one.execute(active).fetchall())
    one.execute("UPDATE campaigns SET state = 'paused' WHERE state = 'running'")
    one.execute("UPDATE campaigns SET state = 'draft' WHERE state = 'scheduled'")
    return names


def _copy_sqlite(source: Path, to: Path, progress: Begin) -> None:
    if not source.is_file():
        raise CloudError(
            f"the database {source} does not exist: specify the data directory with --data"
        )
    uri = f"{source.resolve().as_uri()}?mode=ro"
    size = source.stat().st_size
    with watched(
        lambda: to.stat().st_size if to.exists() else 0,
        size,
        progress("copying the database", size),
    ):
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as one:
            expect_not_moved(one, source)
            with contextlib.closing(sqlite3.connect(to)) as other:
                # In one step: SQLite starts again whenever the cloud writes between two.
                one.backup(other)


def _copy_files(source: Path, to: Path, progress: Begin) -> int:
    """Copy the missing files; a file's name is its hash."""
    to.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = to / "copy.part"
    missing = [file for file in sorted(source.glob("*.bin")) if not (to / file.name).exists()]
    sizes = [file.stat().st_size for file in missing]
    total, before = max(sum(sizes), 1), 0
    at = progress(f"copying {len(missing)} firmware file{'' if len(missing) == 1 else 's'}", total)
    for file, size in zip(missing, sizes, strict=True):
        shutil.copyfile(file, part)
        part.replace(to / file.name)
        before += size
        at(before / total)
    return len(missing)


def _copy_back(source: Path, to: Path, progress: Begin, store: str | None) -> int:
    if store is None:
        return _copy_files(source, to, progress)
    return _copy_objects(str(source), store, progress) if source.is_dir() else 0


def _copy_objects(source: str, to: str, progress: Begin) -> int:
    """Copy missing files between a folder and an object store."""
    from . import store_copy

    with tempfile.TemporaryDirectory(prefix="ivota-store-") as scratch:
        one, other = (store_copy.open_place(each, Path(scratch)) for each in (source, to))
        other.scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        return store_copy.copy(one, other, progress).copied


def _store_of(database: Path | str) -> str | None:
    """Return the object store of the firmware, as the database names it."""
    query = f"SELECT value FROM settings WHERE name = '{STORE}'"
    if isinstance(database, Path):
        with contextlib.closing(sqlite3.connect(database)) as one:
            found = one.execute(query).fetchone()
    else:
        import psycopg

        with psycopg.connect(database) as other:
            found = other.execute(query).fetchone()
    return str(found[0]) or None if found else None


@contextlib.contextmanager
def _errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise CloudError(str(error)) from None
    except sqlite3.Error as error:
        raise CloudError(f"cannot copy the database: {error}") from None
    except OSError as error:
        raise CloudError(
            f"cannot use {error.filename or folder} ({error.strerror}): choose another folder "
            "or free up space"
        ) from None
