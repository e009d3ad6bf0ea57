"""Pages of many devices: what a search means, what the chart counts, how much is asked."""

import itertools
import random
import threading

import pytest
import sqlalchemy as sa
from pages_support import Visitor, let_in
from postgres_support import new_database
from waiting import wait_until

from ivota_tools.cloud import Cloud
from ivota_tools.cloud.accounts import users
from ivota_tools.cloud.pages import fleet, fleet_queries, kept_counts, version_chart
from ivota_tools.cloud.pages.fleet_queries import Wanted
from ivota_tools.cloud.pages.pagination import Order, page
from ivota_tools.cloud.rollout import assignment_states, device_query, device_update_states
from ivota_tools.cloud.store.database import Database
from ivota_tools.cloud.store.models import Assignment, Change, Device, DeviceTag, Firmware
from ivota_tools.common.version_order import key

NOW = 1_800_000_000.0


def crowd(database, count, seed=5):
    """Devices in all states, with tags and changes."""
    draw = random.Random(seed)
    states = ("done", "failed", "retry", "downloading", "waiting", "cancelled")
    with database.writing() as session:
        firmware = [
            Firmware(version=f"0.{n}", kind="other", size=1000, md5="m", sha256=f"{n}",
                     uploaded_at=NOW)
            for n in range(4)
        ]  # fmt: skip
        session.add_all(firmware)
        session.flush()
        for number in range(count):
            version = draw.choice(("0.1", "0.2", "0.10", "1.0-rc1", None))
            seen = NOW - draw.choice((1, 700, 90_000, 900_000)) if version else None
            device = Device(product_id=draw.choice("PQ"), device_name=f"d-{number}",
                            version=version, first_seen=seen, last_seen=seen, garbled=0,
                            revision=number)  # fmt: skip
            session.add(device)
            session.flush()
            if draw.random() < 0.3:
                session.add(DeviceTag(device_id=device.id, tag=draw.choice(("beta", "hall"))))
            if version:
                session.add(Change(at=NOW - draw.uniform(0, 80_000), device_id=device.id,
                                   after=version, before=draw.choice(("0.0", None))))  # fmt: skip
            if draw.random() < 0.9:
                session.add(Assignment(device_id=device.id, firmware_id=firmware[1].id,
                                       state=draw.choice(states), pushes=1, created_at=NOW,
                                       updated_at=NOW - draw.choice((5, 5000))))  # fmt: skip


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    made = Database(tmp_path / "ivota.db" if request.param == "sqlite" else new_database())
    yield made
    made.close()


QUERIES = ("", "-tag:beta product:P", "name:d-1* version<0.10", "-version>0.1 seen<30d")


def test_the_search_means_what_a_campaign_means(database):
    crowd(database, 150)
    with database.reading() as session:
        for text in QUERIES:
            wanted = {device.id for device in device_query.find(session, text, NOW, 0, 150)}
            found: set[int] = set()
            for part in walk(session, text, "name"):
                found |= {device.id for device in part.devices}
            assert found == wanted, text
            assert part.page.count == len(wanted) == device_query.count(session, text, NOW)


def walk(session, text, sort):
    """All pages in their order, as somebody sees them who always chooses the next one."""
    parts = [fleet_queries.devices(session, Wanted(text, sort=sort), NOW)]
    while asked := parts[-1].page.following:
        parts.append(fleet_queries.devices(session, Wanted(text, sort=sort, page=asked), NOW))
    return parts


RANKS = ("failed", "stalled", "retry", "active", "open")


def place(device, sort):
    """Where a device belongs in the table."""
    attempt, name = device.assignment, (device.product_id, device.device_name)
    if sort == "seen":
        return device.last_seen or 0, *name
    if sort == "version":
        return device.version_key or "", *name
    if sort == "name":
        return name
    state = attempt.state if attempt else None
    if device_update_states.is_stalled(attempt, NOW):
        state = "stalled"
    elif state in assignment_states.ACTIVE:
        state = "active"
    elif state in device_update_states.OPEN:
        state = "open"
    return RANKS.index(state) if state in RANKS else len(RANKS), *name


@pytest.mark.parametrize("sort", ["attention", "name", "seen", "version"])
def test_each_device_is_on_one_page_in_both_directions(database, monkeypatch, sort):
    monkeypatch.setattr(fleet_queries, "PAGE", 7)
    crowd(database, 100)
    for order in {sort, f"-{sort}" if sort != "attention" else sort}:
        with database.reading() as session:
            pages = walk(session, "", order)
            shown = [device for part in pages for device in part.devices]
            assert len({device.id for device in shown}) == len(shown) == 100
            wanted = sorted(shown, key=lambda each: place(each, sort), reverse=order[0] == "-")
            assert [each.id for each in shown] == [each.id for each in wanted]
            part, back = pages[-1], [pages[-1]]
            while part.page.previous:
                wanted = Wanted(sort=order, page=part.page.previous)
                part = fleet_queries.devices(session, wanted, NOW)
                back.insert(0, part)
            assert [part.page.rows for part in back] == [part.page.rows for part in pages]


@pytest.mark.parametrize("text", [
    "", "7", "after-", "after-1", "after-[", 'after-[0,"P"]', 'after-[9,"P","d"]',
    'after-[0,1,"d"]', 'after-[0,"\\u0000","d"]', 'after-[0,"\\ud800","d"]',
    "before-" + "[" * 1000, 'after-[true,"P","d"]', 'before-[0,"",""]', "after-[0,1e999,2]",
    "after-99999999999999999999",
])  # fmt: skip
def test_a_made_up_page_is_the_first(database, text):
    crowd(database, 60)
    with database.reading() as session:
        first = fleet_queries.devices(session, Wanted(), NOW)
        found = fleet_queries.devices(session, Wanted(page=text), NOW)
        assert [each.id for each in found.devices] == [each.id for each in first.devices]
        by_id = Order([Device.id], descending=True)
        assert page(session, sa.select(Device), by_id, "after-1e5", 5).previous == ""
        assert page(session, sa.select(Device), by_id, "after-99999999999999999999", 5).rows


def test_a_large_fleet_is_counted_now_and_then(database, monkeypatch):
    monkeypatch.setattr(kept_counts, "LARGE", 50)
    counts, counted = kept_counts.KeptCounts(database), []

    def count(session):
        counted.append(1)
        return len(counted)

    crowd(database, 49)
    with database.reading() as session:
        assert [counts.of(session).get("a", count) for _ in range(3)] == [1, 2, 3]
    with database.writing() as session:
        session.add(Device(product_id="P", device_name="another"))
    with database.reading() as session:
        assert [counts.of(session).get(key, count) for key in "aaabba"] == [4, 4, 4, 5, 5, 4]
        monkeypatch.setattr(kept_counts, "KEEP_S", -1.0)
        assert counts.of(session).get("a", count) == 4  # the one before, until there is another
        wait_until(lambda: counts.of(session).get("a", count) >= 6, "another count")


def test_the_fleet_is_sorted_by_the_numbers_of_its_versions(database):
    crowd(database, 60)
    with database.reading() as session:
        found = fleet_queries.devices(session, Wanted(sort="version"), NOW).devices
        versions = [device.version for device in found]
        assert versions == sorted(versions, key=lambda each: key(each) if each else "")
        assert len(set(versions)) == 5


def test_a_device_is_offered_the_newest_firmware_for_its_hardware(database):
    """Of those for its application; what is for several kinds of hardware is not guessed."""
    stored = [("a", "rev-a", "", "0.3"), ("a", "REV-A", "", "0.2"), ("a", "rev-b", "", "0.4"),
              ("b", None, "", "0.2"), ("b", "rev-b", "", "0.3"), ("b", "rev-b", "", "0.1"),
              ("c", None, "esp32", "0.2"), ("c", None, "esp32s3", "0.3")]  # fmt: skip
    with database.writing() as session:
        session.add_all(
            Firmware(version=version, application=application, hardware=hardware, chip=chip,
                     kind="other", size=1, md5="m", sha256=str(number), uploaded_at=NOW)
            for number, (application, hardware, chip, version) in enumerate(stored)
        )  # fmt: skip
    offers = {}
    with database.reading() as session:
        newest = fleet_queries.newest(session)
        asked = [*itertools.product(("a", "b", None), ("rev-a", "Rev-B", None), (None,)),
                 ("c", "rev-a", None), ("c", None, "esp32"), ("c", None, "esp32s3")]  # fmt: skip
        for application, hardware, chip in asked:
            device = Device(
                application=application, hardware=hardware, chip=chip, version="0.1", tags=[]
            )
            found = fleet.newest_for(device, newest)
            offers[application, hardware or chip] = found and found.version
            assert fleet.can_update(device, found) is (found is not None)
    assert offers == {
        ("a", "rev-a"): "0.3", ("a", "Rev-B"): "0.4", ("a", None): None,
        ("b", "rev-a"): "0.2", ("b", "Rev-B"): "0.3", ("b", None): "0.3",
        ("c", "rev-a"): None, ("c", "esp32"): "0.2", ("c", "esp32s3"): "0.3",
        (None, "rev-a"): None, (None, "Rev-B"): None, (None, None): None,
    }  # fmt: skip


def test_the_chart_counts_back_from_what_runs_now(database):
    crowd(database, 200)
    with database.reading() as session:
        shown = version_chart.versions(session, 86400, NOW, None, several=False)
        assert {layer.version for layer in shown.layers} <= {"0.1", "0.2", "0.10", "1.0-rc1",
                                                             "0.0", "older"}  # fmt: skip
        running = dict(
            session.execute(
                sa.select(Device.version, sa.func.count()).group_by(Device.version)
            ).tuples().all()
        )  # fmt: skip
        for layer in shown.layers:
            assert layer.now == running.get(layer.version, 0), layer.version
        start = {layer.version: layer.counts[0] for layer in shown.layers}
        before = session.scalar(sa.select(sa.func.count()).where(Change.before == "0.0"))
        assert start["0.0"] == before  # all of them changed within the day
        assert all(count >= 0 for layer in shown.layers for count in layer.counts)


def test_the_chart_knows_applications_and_how_old_its_data_is(database):
    with database.writing() as session:
        for number, (name, version) in enumerate((("pump", "2"), ("blink", "2"), (None, "2"))):
            device = Device(product_id="P", device_name=f"d{number}", application=name,
                            version=version, first_seen=1.0, last_seen=1.0)  # fmt: skip
            session.add(device)
            session.flush()
            session.add(Change(at=NOW - 700, device_id=device.id, before="1", after=version))
        retired = Device(product_id="P", device_name="old", version="2", status="retired")
        session.add(retired)
        session.flush()
        session.add(Change(at=NOW - 700, device_id=retired.id, before="1", after="2"))
    charts = version_chart.Charts()

    def layers(*asked):
        changes = version_chart.changes(session)
        shown = charts.versions(session, changes, "24h", NOW, *asked)
        # A quarter of an hour is enough for the data of 700 seconds.
        assert shown.times[0] > NOW - 901 and not shown.days
        return {each.name: (each.counts[0], each.now) for each in shown.layers}

    with database.reading() as session:
        assert version_chart.ranges(NOW - 700, NOW) == ["1h"]
        assert version_chart.ranges(NOW - 90_000, NOW) == ["1h", "24h", "7d"]
        assert layers("pump", False) == {"2": (0, 1), "1": (1, 0)}
        assert layers(None, False) == {"2": (0, 3), "1": (3, 0)}
        assert layers(None, True) == {
            "pump 2": (0, 1), "pump 1": (1, 0), "blink 2": (0, 1), "blink 1": (1, 0),
            "2": (0, 1), "other": (1, 0),
        }  # fmt: skip


def test_pages_ask_a_fixed_number_of_questions(tmp_path, monkeypatch):
    """Ten times the devices, the same number of statements: no query for each row."""
    # Once a minute, a request also notes that its user is still there.
    monkeypatch.setattr(users, "SEEN_S", 1e9)
    # Every few seconds, a page also draws its chart again.
    monkeypatch.setattr(version_chart, "_step", lambda _length: 1e12)
    counts = []
    for size in (30, 300):
        with Cloud(tmp_path / f"{size}") as cloud:
            let_in(cloud, "admin")
            crowd(cloud.database, size)
            asked: list[str] = []

            def note(_connection, _cursor, statement, *_, asked=asked):
                # Other threads look for work all the time.
                if threading.current_thread().name == "AnyIO worker thread":
                    asked.append(statement)

            sa.event.listen(cloud.database._engine, "before_cursor_execute", note)
            with Visitor(cloud.api_url, "admin") as visitor:
                found = {}
                for path in (
                    "/",
                    "/?q=tag:beta&state=failed",
                    "/firmware",
                    "/campaigns",
                    "/audit",
                    "/devices/7",
                    "/campaigns/new?query=version%3C9",
                ):
                    asked.clear()
                    visitor.get(path)
                    found[path] = len(asked)
            counts.append(found)
    assert all(counts[1][path] <= most for path, most in counts[0].items()), counts
    assert max(counts[0].values()) <= 35, counts[0]
