"""Reports by month on PostgreSQL: a month goes as a whole, and no report waits for long."""

import postgres_support
import pytest
import sqlalchemy as sa

from ivota_tools.cloud.store import monthly_partitions
from ivota_tools.cloud.store.database import Database
from ivota_tools.cloud.store.models import Assignment, Change, Device, Firmware, Push, Report
from ivota_tools.cloud.store.monthly_partitions import TABLES, begin_of, keep_up, month, partitions
from ivota_tools.cloud.store.retention import Keep

DAY_S = 86400.0


@pytest.fixture
def database():
    made = Database(postgres_support.new_database())
    yield made
    made.close()


@pytest.fixture
def first(database):
    """The first day that is not in the partition of the rows before."""
    with database.reading() as session:
        (before,) = partitions(session, "reports")
    return before.end


def fill(database, *times):
    with database.writing() as session:
        device = Device(product_id="P", device_name=f"d{times[0]}")
        firmware = Firmware(version="1", kind="x", size=1, md5="", sha256=f"{times[0]}",
                            uploaded_at=0)  # fmt: skip
        session.add_all([device, firmware])
        session.flush()
        attempt = Assignment(device_id=device.id, firmware_id=firmware.id, state="done",
                             created_at=0, updated_at=0)  # fmt: skip
        session.add(attempt)
        session.flush()
        for at in times:
            session.add_all([
                Report(at=at, device_id=device.id, assignment_id=attempt.id, topic="t", kind="k",
                       raw=b"", raw_size=0),
                Push(at=at, assignment_id=attempt.id),
                Change(at=at, device_id=device.id, after="1"),
            ])  # fmt: skip


def left(database):
    with database.reading() as session:
        return [
            session.scalars(sa.select(table.at).order_by(table.at)).all()
            for table in (Report, Push, Change)
        ]


def names(database):
    with database.reading() as session:
        return [[each.name for each in partitions(session, table)] for table in TABLES]


def test_months():
    assert month(0) == (1970, 1) and month(begin_of(2026, 12), 1) == (2027, 1)
    assert month(begin_of(2027, 1) - 1, 3) == (2027, 3)
    assert begin_of(2026, 12) == 1796083200


def test_old_months_are_dropped(database, first):
    keep_up(database, Keep(), first - DAY_S)
    keep_up(database, Keep(), first + 1)  # a month later
    keep_up(database, Keep(), first + 1)  # and again: nothing is left to do
    made = names(database)
    assert [len(each) for each in made] == [4, 4, 4]  # the rows before, a month, two to come
    times = [1.0, first - 1, first, first + 40 * DAY_S, first + 4000 * DAY_S]
    fill(database, *times)
    assert left(database) == [times] * 3
    keep_up(database, Keep(), first + 500 * DAY_S)
    assert left(database) == [times] * 3  # no time to keep, so they stay
    keep_up(database, Keep(DAY_S), first + DAY_S - 1)
    assert left(database) == [times] * 3
    keep_up(database, Keep(DAY_S), first + DAY_S)
    assert left(database) == [times[2:]] * 3
    keep_up(database, Keep(DAY_S), first + 100 * DAY_S)
    assert left(database) == [times[4:]] * 3
    fill(database, 7.0)  # of a clock that is behind: there is no partition for it any more
    assert left(database) == [[7.0, times[4]]] * 3


def test_who_stores_reports_goes_first(database, first, monkeypatch):
    monkeypatch.setattr(monthly_partitions, "WAIT_MS", 50)
    keep_up(database, Keep(), first)
    fill(database, 1.0)
    before = names(database)
    with database.storing() as session:
        session.execute(sa.select(Device).with_for_update()).all()
        keep_up(database, Keep(DAY_S), first + 2 * DAY_S)
        assert names(database) == before
        session.add(Report(at=first, topic="t", kind="k", raw=b"", raw_size=0))
    keep_up(database, Keep(DAY_S), first + 2 * DAY_S)
    assert left(database)[0] == [first]


def test_a_month_whose_rows_came_first_stays_in_the_default(database, first):
    later = begin_of(*month(first, 5)) + 1.0
    fill(database, later)
    keep_up(database, Keep(), later)
    assert left(database) == [[later]] * 3
    fill(database, later + 1)
    assert left(database) == [[later, later + 1]] * 3
