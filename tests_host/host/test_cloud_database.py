"""The cloud's tables: made, brought up to date from any version, the same on both databases."""

import importlib
import re
import resource
import threading

import postgres_support
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext

from ivota_tools.cloud import CloudError
from ivota_tools.cloud.store import migrations
from ivota_tools.cloud.store.backup import back_up, restore
from ivota_tools.cloud.store.database import Database, add, settled
from ivota_tools.cloud.store.models import (
    Assignment,
    Base,
    Change,
    Counter,
    Device,
    Firmware,
    Report,
    Token,
)

first = importlib.import_module("ivota_tools.cloud.store.migrations.versions.0001_first")


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request, tmp_path):
    return tmp_path / "ivota.db" if request.param == "sqlite" else postgres_support.new_database()


def raw(where):
    """An engine without our settings, as another program would open it."""
    if isinstance(where, str):
        return sa.create_engine(where.replace("postgresql:", "postgresql+psycopg:"))
    return sa.create_engine(f"sqlite:///{where}")


def is_no_partition(_object, name, kind, *_):
    """Leave out what only partitioned tables have: their parts, and the index of the ids."""
    parts = r"_(before_)?\d{4}_\d\d$|_other$"
    return not re.search({"table": parts, "index": "_id_at$"}.get(kind, "$^"), name or "")


def test_the_migrations_make_what_the_models_say(where):
    Database(where).close()
    with raw(where).connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_object": is_no_partition}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_a_database_of_the_time_before_migrations(where):
    """Its rows are kept; its tables become those of today."""
    with raw(where).begin() as connection:
        with Operations.context(MigrationContext.configure(connection)):
            first.upgrade()
        connection.execute(
            sa.text(
                "INSERT INTO devices (product_id, device_name, garbled, revision)"
                " VALUES ('P', 'old', 0, 1)"
            )
        )
        connection.execute(sa.text("INSERT INTO counters VALUES ('revision', 7)"))
        connection.execute(
            sa.text(
                "INSERT INTO firmware (version, kind, size, md5, sha256, uploaded_at)"
                " VALUES ('0.2', 'image', 1, 'm', 's', 0)"
            )
        )
        connection.execute(
            sa.text(
                "INSERT INTO assignments (device_id, firmware_id, current, state, pushes,"
                " soft_failures, hard_failures, created_at, updated_at)"
                " VALUES (1, 1, true, 'pushed', 1, 0, 0, 0, 0)"
            )
        )
    database = Database(where)
    with database.reading() as session:
        device = session.scalars(sa.select(Device)).one()
        assert device.name == "P/old" and device.secret is None and device.tags == []
        assert device.assignment.state == "pushed" and not device.assignment.only_outdated
        assert settled(session) == 7
    database.close()
    Database(where).close()  # and again: nothing is left to do


def test_a_database_of_a_newer_version_is_left_alone(where):
    Database(where).close()
    with raw(where).begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(CloudError, match="newer ivota"):
        Database(where)


def test_a_migration_that_breaks_off_leaves_nothing(where, monkeypatch):
    def broken(*_):
        raise CloudError("power cut")

    with monkeypatch.context() as patch:
        real = migrations.command.upgrade
        patch.setattr(migrations.command, "upgrade", lambda *a: (real(*a), broken()))
        with pytest.raises(CloudError, match="power cut"):
            Database(where)
    assert sa.inspect(raw(where)).get_table_names() == []
    Database(where).close()


def test_many_open_their_databases_at_once(tmp_path):
    """In threads of one process: of the same file, and of others."""
    wrong = []

    def open_one(number):
        try:
            Database(tmp_path / f"{number // 2}.db").close()
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=open_one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_writers_come_one_after_the_other(where):
    """What one has read has not changed by the time it writes."""
    database = Database(where)

    def count():
        for _ in range(25):
            with database.writing() as session:
                add(session, "total")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as session:
        assert session.get(Counter, "total").value == 100
    database.close()


def test_a_device_has_one_target(where):
    database = Database(where)
    with database.writing() as session:
        device = Device(product_id="P", device_name="d")
        firmware = Firmware(version="1", kind="image", size=1, md5="", sha256="", uploaded_at=0)
        session.add_all([device, firmware])
        session.flush()
        ids = {"device_id": device.id, "firmware_id": firmware.id}
    with pytest.raises(sa.exc.IntegrityError):
        with database.writing() as session:
            for _ in range(2):
                session.add(Assignment(**ids, state="waiting", created_at=0, updated_at=0))
    with database.writing() as session:
        for current in (True, False, False):
            session.add(
                Assignment(**ids, state="done", current=current, created_at=0, updated_at=0)
            )
    database.close()


@pytest.mark.parametrize(
    "url, words",
    [
        ("postgresql://u:s3cret@127.0.0.1:1/x", r"cannot open .*u:\*\*\*@127.0.0.1:1/x as"),
        ("mysql://u:s3cret@h/x", "must be a postgresql://"),
        ("nonsense", "must be a postgresql://"),
    ],
)
def test_urls_that_lead_nowhere(url, words):
    with pytest.raises(CloudError, match=words) as caught:
        Database(url)
    assert "s3cret" not in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_only_a_file_that_is_no_database_is_to_be_moved_away(tmp_path):
    def advice(file):
        with pytest.raises(CloudError, match=f"cannot open {file}") as caught:
            Database(file)
        return str(caught.value)

    other, good = tmp_path / "other.db", tmp_path / "good.db"
    other.write_bytes(b"not a database" * 100)
    assert "move the file away" in advice(other)
    Database(good).close()
    kept, before = resource.getrlimit(resource.RLIMIT_FSIZE), good.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, kept[1]))  # like a full disk
    try:
        full = advice(good)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    assert "free some space" in full and "away" not in full and good.read_bytes() == before
    (tmp_path / "good.db-wal").unlink(missing_ok=True)
    (tmp_path / "good.db-wal").mkdir()
    assert "check the owner" in advice(good)


@pytest.mark.parametrize("url", ["mysql://u:s3cret@h/x", "nonsense"])
def test_a_backup_of_no_postgresql(url, tmp_path):
    with pytest.raises(CloudError, match="must be a postgresql://"):
        back_up(tmp_path, url, tmp_path / "backup")


def test_a_dump_of_postgresql_says_how_far_it_is_and_comes_back_whole(tmp_path):
    url = postgres_support.new_database()
    begun = []

    def progress(what, size=None, /):
        shares = []
        begun.append((what, size, shares))
        return shares.append

    database = Database(url)
    with database.writing() as session:
        rows = {"at": 2.0, "topic": "t", "kind": "k", "raw": bytes(8_000), "raw_size": 8_000}
        session.execute(sa.insert(Report), [rows] * 50)
    database.close()
    back_up(tmp_path, url, tmp_path / "backup", progress)
    what, size, shares = begun[0]
    assert what == "dumping the database" and size > 50_000
    assert len(shares) > 10 and shares == sorted(shares) and 0 < shares[-1] < 1
    with raw(url).begin() as connection:
        connection.execute(sa.text("DELETE FROM reports"))
    restore(tmp_path / "backup", tmp_path / "new", url, progress)
    assert ("restoring the database", (tmp_path / "backup/ivota.dump").stat().st_size) in [
        each[:2] for each in begun
    ]
    with raw(url).connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM reports")) == 50


def test_a_damaged_dump_changes_nothing(tmp_path):
    url = postgres_support.new_database()
    Database(url).close()
    back_up(tmp_path, url, tmp_path / "backup")
    dumped = tmp_path / "backup/ivota.dump"
    dumped.write_bytes(dumped.read_bytes()[:-3_000])
    with pytest.raises(CloudError, match="pg_restore failed: .*error"):
        restore(tmp_path / "backup", tmp_path / "new", url)
    Database(url).close()


def test_what_devices_ran_is_read_from_their_reports(where):
    """The chart of versions reaches back before its table; roles have their new names."""
    with raw(where).begin() as connection:
        command.upgrade(migrations._config(connection), "0002")
        connection.execute(
            sa.text(
                "INSERT INTO devices (product_id, device_name, garbled, revision)"
                " VALUES ('P', 'one', 0, 1), ('P', 'two', 0, 1)"
            )
        )
        for at, device, version in (
            (1, 1, "0.1"), (2, 1, "0.1"), (3, 2, "0.1"), (4, 1, "0.2"), (5, 2, "0.1"),
            (6, 1, "0.1"),
        ):  # fmt: skip
            connection.execute(
                sa.text(
                    "INSERT INTO reports (at, device_id, topic, kind, version, raw, raw_size)"
                    " VALUES (:at, :device, 't', 'report_version', :version, :raw, 0)"
                ),
                {"at": at, "device": device, "version": version, "raw": b""},
            )
        connection.execute(
            sa.text(
                "INSERT INTO tokens (name, role, sha256, created_at)"
                " VALUES ('a', 'read', '1', 0), ('b', 'operate', '2', 0), ('c', 'admin', '3', 0)"
            )
        )
    database = Database(where)
    with database.reading() as session:
        found = session.scalars(sa.select(Change).order_by(Change.id))
        assert [(each.at, each.device_id, each.before, each.after) for each in found] == [
            (1, 1, None, "0.1"), (3, 2, None, "0.1"), (4, 1, "0.1", "0.2"), (6, 1, "0.2", "0.1"),
        ]  # fmt: skip
        roles = session.scalars(sa.select(Token.role).order_by(Token.name)).all()
        assert roles == ["viewer", "operator", "admin"]
    database.close()


def test_reports_do_not_end_where_32_bits_do(where):
    """Ten thousand devices that report every five minutes are there in two years."""
    most = 2**31 - 1
    with raw(where).begin() as connection:
        command.upgrade(migrations._config(connection), "0004")
        connection.execute(
            sa.text(
                "INSERT INTO reports (id, at, topic, kind, raw, raw_size)"
                " VALUES (:id, 1, 't', 'k', :raw, 0)"
            ),
            {"id": most, "raw": b""},
        )
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text(f"SELECT setval('reports_id_seq', {most})"))
    database = Database(where)
    with database.writing() as session:
        session.execute(
            sa.insert(Report), [{"at": 2.0, "topic": "t", "kind": "k", "raw": b"", "raw_size": 0}]
        )
    with database.reading() as session:
        assert session.scalars(sa.select(Report.id).order_by(Report.id)).all() == [most, most + 1]
    database.close()
