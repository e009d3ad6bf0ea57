"""That a database and a data folder belong together: several processes may share both, or none."""

from __future__ import annotations

import secrets
from pathlib import Path

from sqlalchemy import select

from ..cloud_error import CloudError
from .database import Database
from .firmware_store import stored
from .models import Firmware

NAME = "id"  # of the file in the folder of the firmware, which backups do not copy
SETTING = "data_folder"


def expect_own(database: Database, folder: Path, firmware: Path) -> None:
    """Raises CloudError where a database on PostgreSQL is another folder's.

    A folder that was restored or copied has every file that the database names, and becomes the
    database's own.
    """
    if not database.is_postgresql:
        return  # it lies in the folder
    file = firmware / NAME
    mine = file.read_text().strip() if file.exists() else ""
    is_new = _is_new(database)
    known = database.setting(SETTING, lambda: mine or secrets.token_hex(16))
    with database.reading() as session:
        hashes = session.scalars(
            select(Firmware.sha256).where(Firmware.deleted_at.is_(None)).distinct()
        ).all()
    missing = [each for each in hashes if not stored(firmware, each).is_file()]
    if mine != known and (missing or not hashes) and not is_new:
        raise CloudError(
            f"the database belongs to another data directory: {folder} lacks "
            f"{len(missing)} of its {len(hashes)} firmware files. Specify the right --data or "
            f"--database. If that directory is lost, write {known} to {file}"
        )
    # The first of several processes writes it, and all write the same.
    file.write_text(known + "\n")


def _is_new(database: Database) -> bool:
    """Whether no folder has been the database's so far: only the first is told so."""
    made = secrets.token_hex(16)
    return database.setting(f"{SETTING}_taken", lambda: made) == made
