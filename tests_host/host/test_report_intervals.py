"""The interval of reports that groups set: who gets which, through API, commands and pages."""

import json
import time
from collections import Counter

import postgres_support
import pytest
import sqlalchemy as sa
from cloud_support import Device
from operator_support import Console
from waiting import wait_until

from ivota_tools.api_client import ApiError
from ivota_tools.cloud import BackOff, Cloud
from ivota_tools.cloud.mqtt.cloud_session import Message
from ivota_tools.cloud.mqtt.report_ingestion import take_in
from ivota_tools.cloud.rollout import device_query, device_update_states
from ivota_tools.cloud.rollout.group_report_intervals import FRESH_S, ReportIntervals
from ivota_tools.cloud.store import models
from ivota_tools.cloud.store.database import Database

PLAIN = (
    b'{"type":"report_version_rsp","result_code":0,"result_msg":"success","version":"0.1",'
    b'"cloud":"ivota"}'
)
HOURLY = PLAIN[:-1] + b',"report_interval_s":3600}'


@pytest.fixture(params=("sqlite", "postgresql"))
def where(request, tmp_path):
    sqlite = request.param == "sqlite"
    return tmp_path / "ivota.db" if sqlite else postgres_support.new_database()


@pytest.fixture
def here(where):
    """The database, in one process."""
    made = Database(where)
    yield made
    made.close()


@pytest.fixture
def there(where, here):
    """And in another one."""
    made = Database(where)
    yield made
    made.close()


class Process:
    """Stores reports like `ivota intake`; the clock is the test's."""

    def __init__(self, database):
        self.now_s = 100.0
        self.intervals = ReportIntervals(lambda: self.now_s)
        self.database = database

    def answers(self, *names, own=True, version="0.1"):
        """The answer to each of these devices, by its name."""
        report = {"version": version, **({"max_message_bytes": 4096} if own else {})}
        payload = json.dumps({"type": "report_version", "report": report}).encode()
        heard = [Message(f"$ota/report/P/{each}", payload, 1, False, 1, 1) for each in names]
        with self.database.storing() as session:
            found = take_in(session, heard, time.time(), BackOff(), intervals=self.intervals.of)
        return {each.topic.rpartition("/")[2]: each.payload for each in found}

    def intervals_of(self, *names, **more):
        said = self.answers(*names, **more)
        return {name: json.loads(said[name]).get("report_interval_s") for name in names}


def add_group(database, name, query, seconds):
    with database.writing() as session:
        session.add(models.Group(name=name, query=query, report_interval_s=seconds, created_at=0))


def statements(database, work):
    """The statements that `work` executes."""
    found = []

    def note(_connection, _cursor, statement, *_):
        found.append(statement)

    sa.event.listen(database._engine, "before_cursor_execute", note)
    work()
    sa.event.remove(database._engine, "before_cursor_execute", note)
    return found


def test_only_boards_of_ivota_are_told_and_the_longest_interval_applies(here):
    process = Process(here)
    assert process.answers("a", "b") == {"a": PLAIN, "b": PLAIN}
    add_group(here, "often", "all", 60)
    add_group(here, "rarely", "name:a", 3600)
    add_group(here, "no interval", "all", None)
    process.now_s += FRESH_S
    assert process.answers("a") == {"a": HOURLY}
    assert process.intervals_of("a", "b") == {"a": 3600, "b": 60}
    # Once it has shown what it is, also in a report that does not say it, as the first of each
    # session. A strict client of the vendor's protocol gets the bytes that it knows.
    assert process.answers("a", "vendor", own=False) == {"a": HOURLY, "vendor": PLAIN}
    with here.writing() as session:
        told = dict(session.execute(
            sa.select(models.Device.device_name, models.Device.report_interval_s)
        ).tuples().all())  # fmt: skip
        assert told == {"a": 3600, "b": 60, "vendor": None}
        for status, name in (("pending", "a"), ("retired", "b")):
            device = session.query(models.Device).filter_by(device_name=name).one()
            device.status = status
    assert process.answers("a", "b") == {"a": PLAIN, "b": PLAIN}
    with here.reading() as session:
        assert set(session.scalars(sa.select(models.Device.report_interval_s))) == {None}


def test_the_query_sees_what_the_report_has_just_changed(here):
    process = Process(here)
    add_group(here, "old", "version<0.3", 600)
    assert process.intervals_of("a", version="0.2") == {"a": 600}
    assert process.intervals_of("a", version="0.3") == {"a": None}
    assert process.intervals_of("new", version="0.2") == {"new": 600}


def test_another_process_changes_a_group(here, there):
    """As `ivota console` beside `ivota intake`: nothing passes between them but the database."""
    intake = Process(there)
    assert intake.intervals_of("a") == {"a": None}
    add_group(here, "g", "all", 60)
    intake.now_s += FRESH_S
    assert intake.intervals_of("a") == {"a": 60}
    with here.writing() as session:
        session.query(models.Group).one().report_interval_s = 120
    intake.now_s += FRESH_S
    assert intake.intervals_of("a") == {"a": 120}
    with here.writing() as session:
        session.delete(session.query(models.Group).one())
    intake.now_s += FRESH_S
    assert intake.answers("a") == {"a": PLAIN}


def test_a_batch_costs_one_query_and_without_a_group_none(here):
    process = Process(here)
    names = [f"d{number}" for number in range(100)]
    process.answers(*names)
    without = statements(here, lambda: process.answers(*names))
    assert not [each for each in without if "groups" in each]
    for number in range(3):
        add_group(here, f"g{number}", f"tag:t{number}", 60 + number)
    process.now_s += FRESH_S
    process.answers("d0")
    assert len(statements(here, lambda: process.answers(*names))) == len(without) + 1
    # Any number of groups: no query grows beyond what a database accepts.
    for number in range(3, 40):
        add_group(here, f"g{number}", " ".join(f"-tag:t{n}" for n in range(100)), 60 + number)
    process.now_s += FRESH_S
    assert set(process.intervals_of(*names).values()) == {99}


def test_devices_are_matched_one_by_one_as_in_a_list(here):
    """The two forms of a condition mean the same."""
    now = time.time()
    with here.writing() as session:
        firmware = models.Firmware(version="2", kind="x", size=9, md5="", sha256="", uploaded_at=0)
        session.add(firmware)
        for number, state in enumerate((None, "waiting", "failed", "done", "downloading")):
            device = models.Device(product_id="P", device_name=f"d{number}", version="1")
            device.tags = [models.DeviceTag(tag="even")] if number % 2 == 0 else []
            session.add(device)
            session.flush()
            if state:
                session.add(models.Assignment(
                    device_id=device.id, firmware_id=firmware.id, state=state, pushes=1,
                    created_at=now, updated_at=now - 5000,
                ))  # fmt: skip
    fields = ["tag:even", "tag:none", "name:d[0-2]", "version<2", "seen<1d", "application:x"]
    fields += [f"state:{name}" for name in device_update_states.NAMES]
    found = Counter()
    with here.reading() as session:
        for text in [*fields, *(f"-{each}" for each in fields), "tag:even -state:done"]:
            terms = device_query.parse(text)
            conditions = (
                device_query.condition(session, each, now, one_by_one=True) for each in terms
            )
            query = sa.select(models.Device.id).where(*conditions)
            listed = {each.id for each in device_query.find(session, text, now, 0, 99)}
            assert set(session.scalars(query)) == listed, text
            found[len(listed)] += 1
    assert len(found) > 3


# -- an operator ----------------------------------------------------------------------------


@pytest.fixture
def console(tmp_path):
    with Cloud(tmp_path / "c", back_off=BackOff(3600, 3600)) as cloud:
        made = Console(cloud)
        yield made
        made.close()


def intervals(console):
    return {each["name"]: each["report_interval_s"] for each in console.api.groups()}


def test_an_interval_stays_until_a_word_removes_it(console):
    api = console.api
    assert api.put_group("g", "all")["report_interval_s"] is None
    assert api.put_group("g", "all", 600)["report_interval_s"] == 600
    assert api.put_group("g", "tag:a")["report_interval_s"] == 600
    noted = [json.loads(each["detail"]) for each in api.audit()[-2:]]
    assert noted == [{"query": "all", "report_interval_s": 600}, {"query": "tag:a"}]
    for wrong in (0, 9, 86401, -60, 1.5, "often", "", [60]):
        with pytest.raises(ApiError, match="report_interval_s"):
            api.put_group("g", "tag:a", wrong)
    assert intervals(console) == {"g": 600}
    assert api.put_group("g", "tag:a", "none")["report_interval_s"] is None
    for bound in (10, 86400):
        assert api.put_group("g", "all", bound)["report_interval_s"] == bound
    # The command.
    said = console.ivota("group", "set", "g", "all", "--report-interval", "10min")
    assert said == "g: 0 devices, each reports every 10min (0 reports per second)"
    assert "10min" in console.ivota("group", "list")
    console.ivota("group", "set", "g", "tag:b", "--yes")
    assert intervals(console) == {"g": 600}
    for wrong in ("5s", "2d", "often", ""):
        console.ivota("group", "set", "g", "tag:b", "--report-interval", wrong, code=1)
    assert intervals(console) == {"g": 600}
    made = json.loads(
        console.ivota("group", "set", "g", "tag:b", "--report-interval", "none", "--json")
    )
    assert made["report_interval_s"] is None and intervals(console) == {"g": None}
    # The page.
    visitor, page = console.page, "/campaigns/groups"
    visitor.get(page)
    assert "g tag:b 0 1h" in visitor.post(page, name="g", query="tag:b", interval="1h")
    visitor.post(page, name="g", query="tag:b", interval="")
    assert intervals(console) == {"g": 3600}
    assert "interval=1h" in visitor.page.text  # the link Edit fills the form
    console.add(["a", "b"])
    text = visitor.post(page, name="g", query="all", interval="10s", look="1")
    assert "Matching now: 2 devices (0.2 reports per second)" in text
    for wrong, words in (("often", "is not a valid duration"), ("9s", "must be at least 10 s")):
        said = visitor.post(page, 422, name="g", query="tag:b", interval=wrong)
        assert words in said and f'value="{wrong}"' in visitor.page.text
    assert intervals(console) == {"g": 3600}
    assert "as configured" in visitor.post(page, name="g", query="tag:b", interval="none")
    assert intervals(console) == {"g": None}


def test_a_device_is_told_and_its_page_says_by_which_group(console):
    api, cloud = console.api, console.cloud
    api.put_group("slow", "name:board", 7200)
    visitor = console.page
    own = b'{"type":"report_version","report":{"version":"0.1","max_message_bytes":4096}}'
    with Device(cloud.mqtt_port, "P", "board") as board, Device(cloud.mqtt_port, "P", "c") as c:
        board.publish(own)
        assert board.expect("report_version_rsp")["report_interval_s"] == 7200
        c.hello("0.1")
        number = api.device("P/board")["id"]
        assert api.device("P/board")["report_interval_s"] == 7200
        page = f"/devices/{number}"
        assert "Report interval 2 h, set by group slow" in visitor.get(page)
        api.put_group("slow", "name:board", 60)
        assert "1 min, set by group slow (starting with its next report)" in visitor.get(page)
        found = api.why(number)
        assert (found["group_interval_s"], found["interval_group"]) == (60, "slow")
        said = console.ivota("devices", "P/board")
        assert "the group slow sets the report interval to 1min, but the cloud has not" in said

        def told():
            board.publish(own)
            return board.expect("report_version_rsp")["report_interval_s"] == 60

        wait_until(told, "the new interval")
        assert "Report interval 1 min, set by group slow" in visitor.get(page)
        api.put_group("slow", "all", "none")
        assert "1 min until its next report, then as configured" in visitor.get(page)
        # A client that has not shown that it is a board of ivota.
        api.put_group("slow", "all", 60)
        other = api.device("P/c")["id"]
        assert "1 min, but the device has not reported" in visitor.get(f"/devices/{other}")


def test_a_device_that_reports_rarely_is_not_called_silent(console):
    now = time.time()
    console.add(["daily"], last_seen=now - 36 * 3600, report_interval_s=86400)
    console.add(["hourly"], last_seen=now - 2 * 3600, report_interval_s=3600)
    console.add(["other"], last_seen=now - 2 * 3600)
    console.add(["lost"], last_seen=now - 3 * 3600, report_interval_s=3600)
    said = console.ivota("devices")
    assert said.endswith("4 devices: 2 silent for an hour, 2 up to date or idle")
    for name, quiet in (("daily", False), ("hourly", False), ("other", True), ("lost", True)):
        why = console.api.why(console.api.device(f"P/{name}")["id"])["why"]
        assert ("last seen" in why) == quiet, name
