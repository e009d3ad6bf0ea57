"""Migrations of a database with a fleet in it: killed at random instants, they lose nothing."""

import random
import subprocess
import sys
import time

import pytest
import sqlalchemy as sa
from alembic import command
from postgres_support import new_database
from waiting import WAIT_S

from ivota_tools.cloud.store import migrations
from ivota_tools.cloud.store.database import Database
from ivota_tools.cloud.store.models import Change, Device, Report
from ivota_tools.common.version_order import key

KILLS = 12
DEVICES = 3000
ROWS = 2000

# For each line with a delay: open the database in a process that is killed after the delay.
# The interpreter is started only once, because that takes longer than a migration.
KILLER = """
import os, select, signal, sys
from pathlib import Path
from ivota_tools.cloud.store.database import Database

where = sys.argv[1]
for line in sys.stdin:
    ended, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ended)
        Database(where if "://" in where else Path(where)).close()
        os._exit(0)
    os.close(end)
    select.select([ended], [], [], float(line))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(ended)
    print("ended", flush=True)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request, tmp_path):
    return tmp_path / "ivota.db" if request.param == "sqlite" else new_database()


def old_database(where):
    """A database of revision 0008 with devices."""
    url = where.replace("postgresql:", "postgresql+psycopg:") if isinstance(where, str) else ""
    engine = sa.create_engine(url or f"sqlite:///{where}")
    with engine.begin() as connection:
        command.upgrade(migrations._config(connection), "0008")
        connection.execute(
            sa.text(
                "INSERT INTO devices (product_id, device_name, garbled, revision, version)"
                " VALUES ('P', :name, 0, 0, :version)"
            ),
            [
                {"name": f"d{n}", "version": f"0.{n % 500}" if n % 7 else None}
                for n in range(DEVICES)
            ],
        )
        for statement in (
            "INSERT INTO reports (at, device_id, topic, kind, raw, raw_size)"
            " VALUES (:at, :device, 't', 'k', '', 0)",
            "INSERT INTO changes (at, device_id, after) VALUES (:at, :device, '1')",
        ):
            rows = [{"at": at(n), "device": 1 + n % DEVICES} for n in range(ROWS)]
            connection.execute(sa.text(statement), rows)
    return engine


def at(number):
    """Over half a year up to now; the last is from a clock that was ahead."""
    now = time.time()
    return now + 9e8 if number == ROWS - 1 else now - 180 * 86400 * (1 - number / ROWS)


def history(connection):
    """The number of all rows with a time, and what would change if one were lost or doubled."""
    return [
        tuple(connection.execute(
            sa.text(f"SELECT count(*), count(DISTINCT id), min(id), max(id) FROM {table}")
        ).one())
        for table in ("reports", "changes")
    ]  # fmt: skip


def test_kills_at_random_instants(where):
    engine = old_database(where)
    draw = random.Random(7)
    revisions = set()
    with subprocess.Popen(
        [sys.executable, "-c", KILLER, str(where)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as killer:  # fmt: skip
        try:
            for _ in range(KILLS):
                killer.stdin.write(f"{draw.uniform(0, 0.4)}\n")
                killer.stdin.flush()
                assert killer.stdout.readline() == "ended\n"
                with engine.connect() as connection:
                    found = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
                    count = connection.scalar(sa.text("SELECT count(*) FROM devices"))
                    assert history(connection) == [(ROWS, ROWS, 1, ROWS)] * 2
                revisions.add(found)
                assert count == DEVICES
            killer.stdin.close()
            assert killer.wait(WAIT_S) == 0
        finally:
            killer.kill()
    engine.dispose()
    assert revisions <= {"0008", newest()}, "a migration was committed in part"
    database = Database(where)
    with database.reading() as session:
        for version, made in session.execute(sa.select(Device.version, Device.version_key)):
            assert made == (None if version is None else key(version))
    with database.writing() as session:  # new rows have new numbers
        for row in (Report(at=1.0, topic="t", kind="k", raw=b"", raw_size=0),
                    Change(at=time.time(), device_id=1, after="2")):  # fmt: skip
            session.add(row)
            session.flush()
            assert row.id == ROWS + 1
    database.close()


def newest():
    with sa.create_engine("sqlite://").connect() as connection:
        return migrations.ScriptDirectory.from_config(
            migrations._config(connection)
        ).get_current_head()
