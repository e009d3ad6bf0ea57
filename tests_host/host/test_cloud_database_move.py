"""A fleet that outgrows SQLite: all of it comes to PostgreSQL, or nothing."""

import json
import sqlite3
import sys

import postgres_support
import pytest
import sqlalchemy as sa
from test_cloud_database import raw

from ivota_tools.cloud import CloudError
from ivota_tools.cloud.store import database_move
from ivota_tools.cloud.store.backup import back_up
from ivota_tools.cloud.store.database import Database, settled
from ivota_tools.cloud.store.database_move import move
from ivota_tools.cloud.store.folder_lock import Alone
from ivota_tools.cloud.store.models import Base, Device, Report, Setting

ROWS = 2  # in each table
REVISION = 7_000_000_000


def value_of(column, number):
    """A value that is easily damaged: a long number, all bytes, a name in other letters."""
    kind = column.type
    if column.foreign_keys or (column.primary_key and isinstance(kind, sa.Integer)):
        return number
    if isinstance(kind, sa.JSON):
        return [{"percent": 10, "é\\n": None}, number]
    if isinstance(kind, sa.Boolean):
        return number % 2 == 1
    if isinstance(kind, sa.LargeBinary):
        return bytes(range(256)) + bytes([number])
    if isinstance(kind, sa.BigInteger):
        return 5_000_000_000 + number
    if isinstance(kind, sa.Integer):
        return 2_000_000_000 + number
    if isinstance(kind, sa.Float):
        return 1_796_083_200.123457 + number
    return f"é\t\\N\n{number}"[: getattr(kind, "length", None) or 99]


@pytest.fixture
def data(tmp_path):
    """A data directory with rows in every table, in the first with all values, then with few."""
    folder = tmp_path / "data"
    folder.mkdir()
    database = Database(folder / "ivota.db")
    with database.writing() as session:
        session.execute(sa.text("PRAGMA defer_foreign_keys = ON"))
        for table in Base.metadata.sorted_tables:
            for number in range(1, ROWS + 1):
                row = {
                    column.name: value_of(column, number)
                    for column in table.columns
                    if number == 1 or not column.nullable
                }
                session.execute(table.insert().values(row))
        session.add(Setting(name="url_secret", value="ab" * 32))
        session.execute(sa.text(f"INSERT INTO counters VALUES ('revision', {REVISION})"))
    database.close()
    return folder


@pytest.fixture
def url():
    return postgres_support.new_database()


def content(where):
    """All rows of all tables, without what one of the two databases keeps elsewhere."""
    with raw(where).connect() as connection:
        found = {}
        for table in Base.metadata.sorted_tables:
            rows = connection.execute(table.select()).mappings().all()
            kept = [dict(row) for row in rows if row.get("name") not in ("revision", "moved_to")]
            found[table.name] = sorted(json.dumps(row, default=repr) for row in kept)
        return found


def test_every_table_arrives_and_grows_from_there(data, url):
    before = content(data / "ivota.db")
    assert all(len(rows) >= ROWS for rows in before.values())
    steps = []
    moved = move(data, url, lambda what, size=None: steps.append)
    assert content(url) == before
    assert (moved.rows, moved.devices) == (sum(len(rows) for rows in before.values()), ROWS)
    assert steps == sorted(steps) and steps[-1] > 0.9
    database = Database(url)
    with database.writing() as session:
        assert settled(session) >= REVISION  # an open page has asked for the changes since then
        device = Device(product_id="P", device_name="new")
        report = Report(at=1.0, topic="t", kind="k", raw=b"", raw_size=0)
        session.add_all([device, report])
        session.flush()
        assert device.id == report.id == ROWS + 1
    database.close()


def test_a_nul_in_a_report_does_not_hold_up_the_fleet(data, url):
    with sqlite3.connect(data / "ivota.db") as one:
        one.execute("UPDATE reports SET topic = 'a' || char(0) || 'b' WHERE id = 1")
    move(data, url)
    assert any('"topic": "a?b"' in row for row in content(url)["reports"])


def test_a_fleet_is_moved_once(data, url, tmp_path):
    """What was left behind is neither started, nor backed up, nor moved again."""
    move(data, url)
    with pytest.raises(CloudError, match="was moved to postgresql://"):
        back_up(data, None, tmp_path / "backup")
    with pytest.raises(CloudError, match="was moved to postgresql://"):
        move(data, postgres_support.new_database())
    assert move(data, url).rows == 0


def test_a_power_cut_leaves_all_or_nothing(data, url, monkeypatch):
    """Before the commit, PostgreSQL stays empty; after it, only the mark is missing."""
    before = content(data / "ivota.db")

    def cut(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(database_move, "_continue_numbers", cut)
        with pytest.raises(KeyboardInterrupt):
            move(data, url)
    assert not any(content(url).values())
    with monkeypatch.context() as patch:
        patch.setattr(database_move, "Moved", cut)
        with pytest.raises(KeyboardInterrupt):
            move(data, url)
    with sqlite3.connect(data / "ivota.db") as one:
        one.execute("DELETE FROM settings WHERE name = 'moved_to'")
    assert content(url) == content(data / "ivota.db") == before
    assert (move(data, url).rows, content(url)) == (0, before)
    with pytest.raises(CloudError, match="was moved"):
        move(data, postgres_support.new_database())


def test_what_is_refused_changes_nothing(data, url, tmp_path):
    before = content(data / "ivota.db")

    def refused(words, folder=data):
        with pytest.raises(CloudError, match=words):
            move(folder, url)
        assert content(data / "ivota.db") == before

    refused("does not exist", tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "psycopg", None)
        refused("pip install")
    running = Alone(data)
    refused("stop it first")
    running.close()
    with sqlite3.connect(data / "ivota.db") as one:
        one.execute("UPDATE devices SET version = ? WHERE id = 1", ("x" * 900,))
    before = content(data / "ivota.db")
    refused(r"the fleet to PostgreSQL: value too long .*COPY devices, line 1, column version")
    assert not any(content(url).values())
    other = Database(url)
    with other.writing() as session:
        session.add(Device(product_id="P", device_name="of another fleet"))
    refused("is not empty: its table devices has rows")
    with other.writing() as session:
        session.add(Setting(name="url_secret", value="cd" * 32))
    refused("is not empty")
    with raw(url).begin() as busy, pytest.MonkeyPatch.context() as patch:
        patch.setattr(database_move, "LOCK_S", 1)
        busy.execute(sa.text("SELECT * FROM devices"))
        refused("another program uses the database")
    other.close()
