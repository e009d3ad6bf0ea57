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
    """Raises CloudError where the database is another folder's.

    A folder that was restored or copied has no id, or another's, but every file that the database
    names: it becomes the database's own.
    """
    file = firmware / NAME
    mine = file.read_text().strip() if file.exists() else ""
    known = database.setting(SETTING, lambda: mine or secrets.token_hex(16))
    if mine == known:
        return
    with database.reading() as session:
        hashes = session.scalars(
            select(Firmware.sha256).where(Firmware.deleted_at.is_(None)).distinct()
        ).all()
    missing = [each for each in hashes if not stored(firmware, each).is_file()]
    if missing or (mine and mine != known):
        raise CloudError(
            f"the database belongs to another data folder than {folder}, which lacks "
            f"{len(missing)} of its {len(hashes)} firmware files: name that folder with --data, "
            "or another --database"
        )
    # The first of several processes writes it, and all write the same.
    file.write_text(known + "\n")
