"""Several processes store reports at once on PostgreSQL, beside operators and the leader."""

import json
import threading
import time
from collections import Counter

import postgres_support
import pytest
import sqlalchemy as sa
from waiting import WAIT_S, wait_until

from ivota_tools.cloud import BackOff
from ivota_tools.cloud.ddi import actions
from ivota_tools.cloud.mqtt.cloud_session import Message
from ivota_tools.cloud.mqtt.report_ingestion import take_in
from ivota_tools.cloud.rollout import (
    assignment_states,
    campaign_actions,
    campaign_counts,
    campaign_progress,
    device_actions,
    push_sender,
)
from ivota_tools.cloud.store import event_counters
from ivota_tools.cloud.store.database import Database, next_revision, settled
from ivota_tools.cloud.store.models import Campaign, Device, Firmware

VERSION = "2"


@pytest.fixture(scope="module")
def url():
    return postgres_support.new_database()


@pytest.fixture
def here(url):
    """The database, in one process."""
    made = Database(url)
    with made.writing() as session:
        for table in (
            "controllers", "campaign_counts", "members", "reports", "pushes", "changes",
            "assignments",
            "campaigns", "firmware", "devices", "counter_changes", "counters",
        ):  # fmt: skip
            session.execute(sa.text(f"DELETE FROM {table}"))
    yield made
    made.close()


@pytest.fixture
def there(url, here):
    """And in another one."""
    made = Database(url)
    yield made
    made.close()


def heard(name, **report):
    kind = "report_progress" if "progress" in report else "report_version"
    payload = json.dumps({"type": kind, "report": {"version": VERSION, **report}}).encode()
    return Message(f"$ota/report/P/{name}", payload, 1, False, 1, 1)


def progress(state):
    return {"state": state, "percent": "5", "result_code": "0", "result_msg": ""}


def store(session, *messages):
    return take_in(session, messages, time.time(), BackOff())


def add_target(database, *names):
    with database.writing() as session:
        firmware = Firmware(version=VERSION, kind="x", size=9, md5="", sha256="", uploaded_at=0)
        session.add(firmware)
        for name in names:
            device = Device(product_id="P", device_name=name, version="1")
            session.add(device)
            session.flush()
            device_actions.push(session, device, firmware, "maria")


def device(session, name):
    return session.scalars(sa.select(Device).where(Device.device_name == name)).one()


def push(session):
    found = push_sender.push_due(session, time.time(), lambda *_: ("http://h/", False), 1)
    return [each.topic.rpartition("/")[2] for each in found]


def beside(work, database):
    """Start `work` in a thread, and return it once it waits for a lock."""
    result = []

    def run():
        try:
            result.append(work())
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def waits():
        with database.reading() as session:
            found = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
            found += " WHERE NOT granted AND datname = current_database()"
            return session.scalar(sa.text(found)) or session.scalar(
                sa.text(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                    " AND datname = current_database()"
                )
            )

    wait_until(waits, "a lock")
    return thread, result


def test_two_store_reports_at_once_and_no_change_is_missed(here, there):
    with here.storing() as one:
        store(one, heard("a"), heard("b"))
        with there.storing() as other:
            store(other, heard("c"))
        with there.reading() as session:
            # A reader of changes would otherwise go past those of the first.
            assert device(session, "c").revision > settled(session)
        before = settled(one)
    with there.reading() as session:
        after = settled(session)
        numbers = session.scalars(sa.select(Device.revision)).all()
        assert len(set(numbers)) == 3
        assert all(before < number <= after for number in numbers)
        assert event_counters.totals(session)["report_version"] == 3


def test_numbers_of_changes_that_are_given_up(here, there):
    with pytest.raises(ZeroDivisionError):
        with here.storing() as session:
            lost = next_revision(session)
            raise ZeroDivisionError
    with there.storing() as session:
        assert next_revision(session) > lost
    with here.reading() as session:
        assert settled(session) > lost


def test_the_counts_are_summed_up_beside_others(here, there, monkeypatch):
    monkeypatch.setattr(event_counters, "ROWS_MOST", 3)
    for number in range(5):
        with here.storing() as session:
            event_counters.count(session, {"a": 1, "b": number})
    with there.storing() as other:
        event_counters.count(other, {"a": 10})
        with here.writing() as session:
            event_counters.fold(session)
    with here.reading() as session:
        assert event_counters.totals(session) == {"a": 15, "b": 10}
        assert not event_counters.are_many(session)


def test_a_change_of_an_unlocked_device_leaves_its_other_columns(here, there):
    add_target(here, "one", "two")
    with here.storing() as session:
        one, two = session.scalars(sa.select(Device).order_by(Device.device_name))
        with there.storing() as other:
            store(other, heard("two", application="a", hardware="b"))
        one.hardware = "c"
        two.flooded_at = 5.0
    with here.reading() as session:
        two = session.scalars(sa.select(Device).where(Device.device_name == "two")).one()
        assert (two.version, two.hardware, two.flooded_at) == (VERSION, "b", 5.0)


def test_an_operator_sees_what_a_report_has_just_changed(here, there):
    """And does not cancel what is done."""
    add_target(here, "a", "b")
    with here.storing() as session:
        assert sorted(push(session)) == ["a", "b"]

    def cancel():
        with there.writing() as session:
            device_actions.cancel_device(session, device(session, "a"), time.time(), "maria")

    with here.storing() as session:
        store(session, heard("a"), heard("a", progress=progress("done")))
        session.flush()
        thread, result = beside(cancel, there)
    thread.join(WAIT_S)
    assert "is done: nothing to cancel" in str(result[0])
    with here.reading() as session:
        assert device(session, "a").assignment.state == assignment_states.DONE


def test_a_push_leaves_devices_that_report(here, there):
    add_target(here, "a", "b")
    with there.storing() as other:
        store(other, heard("a", version="1"))
        with here.storing() as session:
            assert push(session) == ["b"]
    with here.storing() as session:
        assert push(session) == ["a"]


def test_no_push_follows_a_pause(here, there):
    with here.writing() as session:
        firmware = Firmware(version=VERSION, kind="x", size=9, md5="", sha256="", uploaded_at=0)
        session.add(firmware)
        session.add(Device(product_id="P", device_name="a", version="1"))
        campaign = Campaign(
            name="c", firmware=firmware, query="", state=campaign_actions.DRAFT, stages=[],
            success_share=1.0, soak_s=0, stop_least=1, only_outdated=True, created_at=0,
        )  # fmt: skip
        session.add(campaign)
        session.flush()
        campaign_actions.start(session, campaign, time.time(), "maria")
        campaign_progress.tick(session, time.time())
    number = campaign.id

    def pause():
        with there.writing() as session:
            campaign_actions.pause(session, session.get_one(Campaign, number), "maria")

    with here.storing() as session:
        assert push(session) == ["a"]
        thread, result = beside(pause, there)
    thread.join(WAIT_S)
    assert result == [None]
    with here.writing() as session:
        device(session, "a").assignment.next_push_at = 0.0
    with here.storing() as session:
        assert push(session) == []
    # Every transaction has noted its moves: the numbers are those of a count.
    assert campaign_counts.repair(here) == []


def test_polls_of_ddi_run_beside_operators_and_each_other(here, there):
    rules = actions.Rules(BackOff(), True, False)
    result = []

    def poll(database, name):
        result.append(actions.poll(database, "T", name, time.time(), rules))

    def beside_others(name):
        thread = threading.Thread(target=poll, args=(there, name))
        thread.start()
        thread.join(WAIT_S)
        return not thread.is_alive()

    with here.writing():  # an operator's transaction, which takes long
        assert beside_others("a")
    with here.storing() as session:
        actions._known(session, "T", "b", time.time(), rules)
        thread, failed = beside(lambda: poll(there, "b"), there)
        assert beside_others("c")
    thread.join(WAIT_S)
    assert failed == [None] and len(result) == 3
    with here.writing() as session:
        firmware = Firmware(version=VERSION, kind="x", size=9, md5="", sha256="", uploaded_at=0)
        session.add(firmware)
        campaign = Campaign(
            name="c", firmware=firmware, query="", state=campaign_actions.DRAFT, stages=[],
            success_share=1.0, soak_s=0, stop_least=1, only_outdated=True, created_at=0,
            active_most=1,
        )  # fmt: skip
        session.add(campaign)
        session.flush()
        campaign_actions.start(session, campaign, time.time(), "maria")
        campaign_progress.tick(session, time.time())
    with here.storing() as session:  # the limit holds, although both look at the same time
        asks, controller = actions._known(session, "T", "a", time.time(), rules)
        actions._push(session, asks, controller, time.time())
        thread, failed = beside(lambda: poll(there, "b"), there)
    thread.join(WAIT_S)
    assert failed == [None]
    assert controller.action_id and result[-1].action_id is None


def test_a_new_device_that_two_hear_of_is_one(here, there):
    def other():
        with there.storing() as session:
            return len(store(session, heard("b"), heard("a")))

    with here.storing() as session:
        store(session, heard("a"))
        thread, result = beside(other, there)
        store(session, heard("b"))
    thread.join(WAIT_S)
    assert result == [2]
    with here.reading() as session:
        names = Counter(session.scalars(sa.select(Device.device_name)))
        assert names == {"a": 1, "b": 1}
