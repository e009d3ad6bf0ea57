"""Back up a running cloud, restore it into an empty folder, and compare both."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from pathlib import Path

from sqlalchemy import func, select

from ivota_tools.api_client import Client
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.store.backup import FIRMWARE, RESTORED, SQLITE, back_up, restore
from ivota_tools.cloud.store.models import Device

DEVICES = 200


def is_equal(folder: Path) -> bool:
    """Return whether every row and every file is the same, and the restored cloud starts."""
    data, backup, new = folder / "data", folder / "backup", folder / "new"
    with Cloud(data) as cloud, Client(cloud.api_url) as api:
        for version in ("0.1", "0.2"):
            file = folder / version
            file.write_bytes(version.encode() * 10_000)
            api.upload(file, version)
        names = [{"device": f"P/d{number}"} for number in range(DEVICES)]
        api.add_devices(names)
        api.create_campaign(name="all", version="0.2", query="all", draft=True)
        api.create_user("somebody", "a long password", "admin")
        back_up(data, None, backup)
    restore(backup, new, None)
    same = _rows(backup) == _rows(new) and _files(data) == _files(new)
    with Cloud(new) as cloud, cloud.database.reading() as session:
        count = session.scalar(select(func.count(Device.id)))
    return same and count == DEVICES


def _rows(folder: Path) -> list[str]:
    """Return the rows as text, without the note of the restore for the next start."""
    note = f"INSERT INTO \"settings\" VALUES('{RESTORED}',"
    with contextlib.closing(sqlite3.connect(folder / SQLITE)) as database:
        return [line for line in database.iterdump() if not line.startswith(note)]


def _files(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / FIRMWARE).glob("*.bin")
    }
