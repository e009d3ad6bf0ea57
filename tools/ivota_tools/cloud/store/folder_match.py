"""Check that a database and a data folder belong together."""

from __future__ import annotations

import secrets
from pathlib import Path

from sqlalchemy import select

from ..cloud_error import CloudError
from .database import Database
from .firmware_store import stored
from .models import Firmware

NAME = "id"  # name of a file in the firmware folder, which backups do not copy
SETTING = "data_folder"


def expect_own(database: Database, folder: Path, firmware: Path) -> None:
    """Raise CloudError if a PostgreSQL database belongs to another data folder.

    A restored or copied folder that contains every file of the database is adopted.
    """
    if not database.is_postgresql:
        return  # the database is a file in the folder
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
    # Several processes may write it at the same time, with the same contents.
    file.write_text(known + "\n")


def _is_new(database: Database) -> bool:
    """Claim the database for a folder; return whether it was unclaimed."""
    made = secrets.token_hex(16)
    return database.setting(f"{SETTING}_taken", lambda: made) == made
