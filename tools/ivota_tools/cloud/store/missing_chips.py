"""Add the chips of images that an older version of the cloud has stored."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select, update

from ...firmware import esp32_image
from .database import Database
from .file_store import FileStore
from .models import Firmware

IMAGE = "esp32-image"


def chip_in(path: Path) -> str:
    """Return the chip that an ESP32 image is for; "" if it does not say so. Raises OSError."""
    with path.open("rb") as file:
        return esp32_image.chip_of(file.read(512)) or ""


def repair(database: Database, store: FileStore) -> None:
    """Read the chips that the database lacks. Raises OSError or SQLAlchemyError."""
    unknown = Firmware.chip.is_(None), Firmware.deleted_at.is_(None)
    with database.reading() as session:
        rows = session.scalars(select(Firmware).where(*unknown)).all()
    for firmware in rows:
        chip = ""
        if firmware.kind == IMAGE:
            try:
                with store.local(firmware.sha256) as path:
                    chip = chip_in(path)
            except FileNotFoundError:
                continue
        with database.writing() as session:
            session.execute(update(Firmware).where(Firmware.id == firmware.id).values(chip=chip))
