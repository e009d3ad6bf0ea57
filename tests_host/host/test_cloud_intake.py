"""Taking in reports: what a batch costs the database, and what kills leave behind."""

import json
import time
from types import SimpleNamespace

import postgres_support
import pytest
import sqlalchemy as sa
from cloud_support import Device as Endpoint
from rich.console import Console
from waiting import wait_until

from ivota_tools.api_client import Client
from ivota_tools.cloud import BackOff, Cloud
from ivota_tools.cloud.mqtt import report_worker
from ivota_tools.cloud.mqtt.cloud_session import Message
from ivota_tools.cloud.mqtt.report_ingestion import take_in
from ivota_tools.cloud.rollout import device_actions, push_sender, timed_work
from ivota_tools.cloud.store import device_acceptance, event_counters, retention
from ivota_tools.cloud.store.database import Database
from ivota_tools.cloud.store.models import Change, Device, Firmware, Report
from ivota_workshop.bench.console import kills


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    where = tmp_path / "i.db" if request.param == "sqlite" else postgres_support.new_database()
    made = Database(where)
    yield made
    made.close()


def messages(devices, each, version="0.1"):
    report = {"type": "report_version", "report": {"version": version}}
    payload = json.dumps(report).encode()
    return [
        Message(f"$ota/report/P/d{number % devices}", payload, 1, False, number, 1)
        for number in range(devices * each)
    ]


def statements(database, batch):
    """How many statements a batch takes: one that is executed for many rows counts once."""
    count = 0

    def counted(*_):
        nonlocal count
        count += 1

    sa.event.listen(database._engine, "before_cursor_execute", counted)
    try:
        with database.writing() as session:
            answers = take_in(session, batch, time.time(), BackOff())
    finally:
        sa.event.remove(database._engine, "before_cursor_execute", counted)
    assert len(answers) == len(batch)
    return count


def test_a_batch_costs_the_same_however_large_it_is(database):
    statements(database, messages(50, 1))
    small = statements(database, messages(10, 1))
    assert statements(database, messages(50, 10)) == small
    assert small <= 10
    # And so do devices that report for the first time, and new versions.
    new = messages(500, 1)
    assert statements(database, new) <= small + 5
    with database.reading() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(Device)) == 500
        assert session.scalar(sa.select(sa.func.count()).select_from(Report)) == 1060


def test_a_batch_finds_its_devices_with_an_index(database):
    asked = []

    def note(_connection, _cursor, statement, parameters, *_):
        if "FROM devices" in statement and "device_name" in statement:
            asked.append((statement, parameters))

    sa.event.listen(database._engine, "before_cursor_execute", note)
    with database.writing() as session:
        take_in(session, messages(5, 1), time.time(), BackOff())
        statement, parameters = asked[0]
        if session.get_bind().dialect.name == "sqlite":
            plan = session.connection().exec_driver_sql(
                f"EXPLAIN QUERY PLAN {statement}", parameters
            )
            assert "(product_id=? AND device_name=?)" in str(plan.all())


def test_percentages_change_the_attempt_and_only_events_are_rows(database):
    """Also after a restart, a download that begins anew, and a failure; all are counted."""
    with database.writing() as session:
        device = Device(product_id="P", device_name="d0")
        firmware = Firmware(version="2", kind="other", size=9, md5="", sha256="", uploaded_at=0)
        session.add_all([device, firmware])
        session.flush()
        device_actions.push(session, device, firmware, "maria")

    def hear(state, percent=None, version="2"):
        progress = {"state": state, "percent": str(percent), "result_code": "0", "result_msg": ""}
        report = {"progress": progress, "version": version}
        payload = json.dumps({"type": "report_progress", "report": report}).encode()
        batch = [Message("$ota/report/P/d0", payload, 1, False, 1, 1)]
        with database.writing() as session:
            take_in(session, batch if state else messages(1, 1), time.time(), BackOff(0, 0))
            push_sender.push_due(session, time.time(), lambda *_: ("http://h/", False), 1)
            return session.scalar(sa.select(Device)).assignment.percent

    hear(None)
    said = [hear("downloading", percent) for percent in (0, 7, 20, 20, 31)]
    hear(None)  # it has started again, in mid-download
    said += [hear("downloading", percent) for percent in (30, 44, 3, 60, 61)]
    hear("fail")
    said += [hear("downloading", percent) for percent in (0, 100)]
    hear("downloading", 50, version="3")
    hear("burning")
    hear("done")
    assert said == [0, 7, 20, 20, 31, 30, 44, 3, 60, 61, 0, 100]
    with database.reading() as session:
        rows = session.execute(sa.select(Report.state, Report.percent).order_by(Report.id)).all()
        assert [tuple(row) for row in rows] == [
            (None, None), ("downloading", 0), (None, None), ("downloading", 30),
            ("downloading", 3), ("fail", 61), ("downloading", 0), ("downloading", 50),
            ("burning", None), ("done", None),
        ]  # fmt: skip
        assert event_counters.totals(session)["report_progress"] == 16


def test_who_has_no_place_is_answered(database, monkeypatch):
    """The trial of a new version waits for the answer, whatever an operator does meanwhile."""
    make_room = device_acceptance.make_room
    monkeypatch.setattr(device_acceptance, "make_room", lambda session: make_room(session, 1))
    with database.writing() as session:
        answers = take_in(session, messages(3, 1), time.time(), BackOff(), accept_all=False)
        assert session.scalar(sa.select(sa.func.count()).select_from(Device)) == 1
    assert [answer.topic for answer in answers] == [f"$ota/update/P/d{n}" for n in range(3)]
    retained = messages(1, 1)[0]._replace(retained=True)
    with database.writing() as session:
        assert take_in(session, [retained], time.time(), BackOff()) == []


def test_a_watcher_sees_each_device_once_per_batch(database):
    def revisions():
        with database.reading() as session:
            return session.scalars(sa.select(Device.revision).order_by(Device.id)).all()

    statements(database, messages(5, 3))
    first = revisions()
    assert len(set(first)) == 5 and max(first) - min(first) == 4
    statements(database, messages(5, 3))
    assert min(revisions()) > max(first)


@pytest.mark.slow
def test_kills_lose_no_report_and_bring_no_late_push(tmp_path):
    """A few of the fifty of `make bench-console`."""
    found = kills.measure(tmp_path / "k", Console(), kills=2)
    assert found["lost_reports"].value == 0 and found["reports_checked"].value > 100
    assert found["pushes_after_done"].value == 0


def test_old_reports_are_forgotten_a_few_at_a_time(database):
    with database.writing() as session:
        take_in(session, messages(1, 2500), 1000.0, BackOff())
        take_in(session, messages(1, 5), 2000.0, BackOff())
    left = []
    forgetting, more = retention.Forgetting(), True
    while more:
        with database.writing() as session:
            more = forgetting.step(session, retention.Keep(500.0), 2000.0)
            left.append(session.scalar(sa.select(sa.func.count()).select_from(Report)))
    assert left == [1505, 505, 5]


def test_the_cloud_forgets_by_itself(tmp_path, monkeypatch):
    """Again and again: a minute after its last look, or soon where there is more to forget."""
    now_s = time.time()
    clock = SimpleNamespace(time=lambda: now_s, monotonic=lambda: now_s)
    for module in (report_worker, timed_work):  # one stores reports, the other forgets them
        monkeypatch.setattr(module, "time", clock)
    with Cloud(tmp_path / "c") as cloud, cloud.database.writing() as session:
        take_in(session, messages(1, 2500), 1.0, BackOff())
    with Cloud(tmp_path / "c", keep_s=86400) as cloud, Client(cloud.api_url) as api:
        many = api.device("P/d0")["id"]
        with Endpoint(cloud.mqtt_port, "P", "d") as device:
            for left in (1500, 500, 0):
                wait_until(lambda left=left: len(api.reports(many)) == left, f"{left} of them")
                device.hello("0.1")
                assert len(api.reports(many)) == left  # not before its time
                now_s += 1
            number = api.device("P/d")["id"]
            assert len(api.reports(number)) == 3
            now_s += 86300
            device.hello("0.1")
            assert len(api.reports(number)) == 4
            for _ in range(2):
                now_s += 100
                wait_until(lambda: len(api.reports(number)) == 1, "the end of what is old")
                now_s += 86300
                device.hello("0.1")
                assert len(api.reports(number)) == 2
            assert api.device("P/d")["version"] == "0.1"


def test_a_changed_version_is_kept(tmp_path):
    with Cloud(tmp_path / "c") as cloud, Endpoint(cloud.mqtt_port, "P", "one") as device:
        for version in ("0.1", "0.1", "0.2", "0.1"):
            device.hello(version)

        def changes():
            with cloud.database.reading() as session:
                rows = session.scalars(sa.select(Change).order_by(Change.id))
                return [(row.before, row.after) for row in rows]

        wait_until(lambda: len(changes()) == 3, "three changes")
        assert changes() == [(None, "0.1"), ("0.1", "0.2"), ("0.2", "0.1")]
