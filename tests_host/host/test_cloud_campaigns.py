"""Campaigns over real MQTT and HTTP, on both databases: stages, limits, stops, operators."""

import threading
import time
from types import SimpleNamespace

import postgres_support
import pytest
import sqlalchemy as sa
from cloud_support import Device, settle
from waiting import WAIT_S, wait_until

from ivota_tools.api_client import ApiError, Client
from ivota_tools.cloud import BackOff, Cloud
from ivota_tools.cloud.rollout import (
    campaign_actions,
    campaign_assignments,
    campaign_counts,
    campaign_progress,
)
from ivota_tools.cloud.store import models

DATA = b"firmware" * 2000
ALL = [{"percent": 100}]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def cloud(request, tmp_path_factory):
    url = postgres_support.new_database() if request.param == "postgresql" else None
    folder = tmp_path_factory.mktemp("cloud")
    (folder / "f.bin").write_bytes(DATA)
    with Cloud(folder / "c", database=url, back_off=BackOff(3600, 3600)) as running:
        with Client(running.api_url) as client:
            for version in ("0.2", "0.3"):
                client.upload(folder / "f.bin", version)
        yield running


class Fleet:
    """Devices of one product, which only this test's campaigns mean."""

    def __init__(self, cloud, api, product):
        self.cloud, self.api, self.product = cloud, api, product
        self.devices = {}

    def add(self, count, version="0.1"):
        for _ in range(count):
            name = f"d{len(self.devices)}"
            device = Device(self.cloud.mqtt_port, self.product, name)
            self.devices[device.name] = device
            device.hello(version)
        return list(self.devices.values())[-count:]

    def campaign(self, version="0.2", **rules):
        rules = {
            "query": f"product:{self.product}", "stop_share": None, "stages": ALL, "soak_s": 0,
            "timeout_s": None, "only_outdated": False, "success_share": 0.9,
            "stop_on": "last", **rules,
        }  # fmt: skip
        return self.api.create_campaign(version=version, name="c", **rules)["id"]

    def show(self, campaign):
        return self.api.campaign(campaign)

    def wait(self, campaign, state, what="state"):
        wait_until(lambda: self.show(campaign)[what] == state, f"{what} {state}")
        return self.show(campaign)

    def pushed(self, count):
        """The devices that have a push waiting, once there are that many."""
        wait_until(lambda: len(self._pushed()) >= count, f"{count} pushes")
        settle(self.cloud, next(iter(self.devices.values())))
        assert len(self._pushed()) == count
        return self._pushed()

    def _pushed(self):
        return [device for device in self.devices.values() if not device.messages.empty()]


def finish(device):
    device.update(device.expect("update_firmware"))


@pytest.fixture
def fleet(cloud, api, request):
    made = Fleet(cloud, api, request.node.originalname)
    yield made
    for device in made.devices.values():
        device.__exit__()


def test_stages_and_their_soak(fleet):
    fleet.add(5)
    campaign = fleet.campaign(
        stages=[{"count": 1}, {"count": 3}, *ALL], success_share=1, soak_s=1, active_most=5
    )
    (first,) = fleet.pushed(1)
    assert [each["members"] for each in fleet.show(campaign)["progress"]] == [1, 2, 2]
    others = [d for d in fleet.devices.values() if d is not first]
    words = fleet.api.why(fleet.api.device(others[0].name)["id"])["why"]
    assert "of campaign 'c', which is running in stage 1 with 0 % done (100 % required)" in words
    done_at = time.monotonic()
    finish(first)
    second = fleet.pushed(2)
    assert time.monotonic() - done_at >= 1
    for device in second:
        finish(device)
    for device in fleet.pushed(2):
        finish(device)
    shown = fleet.wait(campaign, "finished")
    assert shown["states"] == {"done": 5} and shown["ended_at"]
    actions = [line["action"] for line in fleet.api.audit() if f"{campaign} c" == line["subject"]]
    assert actions == ["campaign create", "campaign start", "campaign stage", "campaign stage",
                       "campaign finished"]  # fmt: skip


def test_it_stops_by_itself_and_is_resumed_for_the_failed_alone(fleet):
    """Wishes: retry only the failed; stop on a share of failures."""
    fleet.add(4)
    campaign = fleet.campaign(stop_share=0.5, stop_least=2)
    good, *rest = fleet.pushed(4)
    for bad in rest[:2]:
        bad.expect("update_firmware")
        for code in (-4, -5):
            bad.fail("0.2", code, "no good")
            bad.expect_later(fleet.cloud, "update_firmware")
        bad.fail("0.2", -4, "no good")
    shown = fleet.wait(campaign, "stopped")
    assert shown["reason"] == "2 of 2 failed" and shown["states"]["failed"] == 2
    why = fleet.api.why(fleet.api.device(rest[0].name)["id"])["why"]
    assert why == "failed permanently: -4 no good; retry the update, or push another version"
    finish(good)  # what was under way may end
    rest[2].drain(fleet.cloud)
    rest[2].hello("0.1")
    rest[2].expect_nothing(fleet.cloud)  # but nobody is pushed any more
    stuck = fleet.api.why(fleet.api.device(rest[2].name)["id"])["why"]
    assert stuck == "campaign 'c' is stopped (2 of 2 failed): no pushes until it is resumed"
    assert fleet.api.retry_campaign(campaign)["devices"] == 2
    fleet.api.resume_campaign(campaign)
    for device in rest:
        finish(device)
    fleet.wait(campaign, "finished")
    good.expect_nothing(fleet.cloud)
    found = fleet.api.device(rest[0].name)
    attempts = fleet.api.attempts(found["id"])
    assert [each["state"] for each in attempts] == ["failed", "done"]
    reports = fleet.api.attempt_reports(attempts[0]["id"])
    assert [r["result_code"] for r in reports if r["state"] == "fail"] == [-4, -5, -4]


@pytest.fixture
def between(monkeypatch):
    """Takes what is to happen, in turn, whenever a long order lets go; then nothing."""

    def happens(*happenings):
        waiting = list(happenings)
        pause = SimpleNamespace(sleep=lambda _s: waiting.pop(0)() if waiting else None)
        monkeypatch.setattr(campaign_actions, "time", pause)
        return waiting

    monkeypatch.setattr(campaign_assignments, "MOST", 10)
    return happens


class Crowd:
    """Devices that only the database knows, in a campaign of the fleet, which is paused."""

    def __init__(self, fleet, count, **rules):
        self.database, self.product, self.count = fleet.cloud.database, fleet.product, count
        with self.database.writing() as session:
            session.add_all(
                models.Device(product_id=fleet.product, device_name=f"m{n}", version="0.1")
                for n in range(count)
            )
        self.campaign = fleet.campaign(active_most=1, **rules)
        wait_until(lambda: "queued" not in fleet.show(self.campaign)["states"], "all targets")
        fleet.api.pause_campaign(self.campaign)

    def ids(self):
        with self.database.reading() as session:
            return session.scalars(self.mine()).all()

    def mine(self):
        mine = sa.select(models.Device.id).where(models.Device.product_id == self.product)
        return mine.where(models.Device.device_name.startswith("m"))

    def set(self, **values):
        """What their attempts are in the midst of."""
        with self.database.writing() as session:
            session.execute(
                sa.update(models.Assignment)
                .where(models.Assignment.campaign_id == self.campaign, models.Assignment.current)
                .where(models.Assignment.device_id.in_(self.mine()))
                .values(next_push_at=None, **values)
            )
            campaign_counts.recount(session, self.campaign)


def test_reports_are_taken_in_while_many_are_tried_again(fleet, between):
    """Who writes holds up who takes in reports: a retry of thousands lets go again and again."""
    (device,) = fleet.add(1)
    many = 100
    crowd = Crowd(fleet, many)
    device.drain(fleet.cloud)
    crowd.set(state="failed")
    last = f"{fleet.product}/m{many - 1}"
    said = lambda: device.hello("0.1")  # noqa: E731
    # One of those that still wait is given something else meanwhile.
    between(said, said, lambda: fleet.api.push(last, "0.3"))
    assert fleet.api.retry_campaign(crowd.campaign)["devices"] == many - 1
    states = fleet.show(crowd.campaign)["states"]
    assert states["failed"] == 1 and states["waiting"] >= many - 1
    noted = [line for line in fleet.api.audit() if line["action"] == "campaign retry"]
    assert noted[-1]["detail"] == f'{{"devices": {many}}}'
    found = fleet.api.attempts(fleet.api.device(f"{fleet.product}/m0")["id"])
    assert [each["state"] for each in found] == ["failed", "waiting"]
    # A cancel ends it, whatever was still to come.
    crowd.set(state="failed")
    between(said, lambda: fleet.api.cancel_campaign(crowd.campaign))
    assert fleet.api.retry_campaign(crowd.campaign)["devices"] == 20
    states = fleet.show(crowd.campaign)["states"]
    assert states["cancelled"] == 21 and states["failed"] == many - 20


def test_reports_are_taken_in_while_many_are_cancelled(fleet, between):
    """The campaign is cancelled at once, its devices a few at a time."""
    (device,) = fleet.add(1)
    many = 100
    crowd = Crowd(fleet, many)
    device.drain(fleet.cloud)
    seen = []

    def look():
        device.hello("0.1")
        seen.append(fleet.show(crowd.campaign))
        # Which devices come last is the database's choice, and the engine cancels some meanwhile.
        seen.extend(fleet.api.why(n)["why"] for n in crowd.ids())

    waiting = between(look)
    fleet.api.cancel_campaign(crowd.campaign)
    shown, *whys = seen
    assert not waiting and shown["state"] == "cancelled"
    ends = (
        "campaign 'c' is cancelled: no more pushes",
        "the update to 0.2 was cancelled with campaign 'c'",
    )
    assert len(whys) == many and all(why in ends for why in whys)
    shown = fleet.show(crowd.campaign)
    assert shown["states"] == {"cancelled": many + 1} and shown["ended_at"]
    noted = [line for line in fleet.api.audit() if line["action"] == "campaign cancel"]
    assert len([line for line in noted if line["subject"] == f"{crowd.campaign} c"]) == 1


def test_a_cancel_that_was_broken_off_is_ended_by_the_engine(cloud, fleet, between):
    """The process may end between two transactions: nobody is left waiting for ever."""
    (device,) = fleet.add(1)
    crowd = Crowd(fleet, 100)

    def killed():
        raise SystemExit

    between(killed)
    with pytest.raises(SystemExit):
        campaign_actions.cancel(cloud.database, crowd.campaign, time.time(), "maria")
    wait_until(lambda: fleet.show(crowd.campaign)["ended_at"], "the end")
    assert fleet.show(crowd.campaign)["states"] == {"cancelled": 101}


def test_reports_are_taken_in_while_many_time_out(fleet, between, monkeypatch):
    """Some in each transaction; whether the campaign stops is decided when all are counted."""
    (device,) = fleet.add(1)
    many = 100
    crowd = Crowd(fleet, many, timeout_s=3600, stop_share=0.5, stop_least=2)
    device.drain(fleet.cloud)
    crowd.set(state="pushed", first_push_at=1.0)
    begun, answered, tick = threading.Event(), threading.Event(), campaign_progress.tick

    def once(session, now):
        """Nothing more than the first step until the device has its answer."""
        if begun.is_set() and not answered.is_set():
            return True
        more = tick(session, now)
        mine = session.get_one(models.Campaign, crowd.campaign)
        if campaign_counts.states(session, mine).get("failed"):
            begun.set()
        return more

    between()
    monkeypatch.setattr(campaign_progress, "tick", once)
    fleet.api.resume_campaign(crowd.campaign)
    assert begun.wait(WAIT_S)
    device.hello("0.1")
    shown = fleet.show(crowd.campaign)
    assert shown["states"]["failed"] == 10 and shown["state"] == "running"
    answered.set()
    shown = fleet.wait(crowd.campaign, "stopped")
    assert shown["states"]["failed"] == many and shown["reason"] == f"{many} of {many} failed"


def test_only_the_outdated(fleet):
    """Wish: update only the outdated; nothing is taken back to an older version."""
    old = fleet.add(1, "0.1")[0]
    newer, same, off = fleet.add(1, "0.10")[0], fleet.add(1, "0.2")[0], fleet.add(1, "0.1")[0]
    campaign = fleet.campaign(only_outdated=True)
    finish(old)
    off.expect("update_firmware")
    off.report_version("0.3")  # somebody has been there with a cable
    off.expect("report_version_rsp")
    shown = fleet.wait(campaign, "finished")
    assert shown["states"] == {"done": 1, "skipped": 1}
    for device in (newer, same, off):
        device.expect_nothing(fleet.cloud)


def test_a_device_that_runs_the_target_already(fleet):
    """Nothing is asked of it, so it waits for nothing, also when the campaign has ended."""
    (device,) = fleet.add(1, "0.2")
    campaign = fleet.campaign()
    assert fleet.wait(campaign, "finished")["states"] == {"done": 1}
    assert fleet.api.why(fleet.api.device(device.name)["id"])["why"] == "it runs 0.2"
    device.expect_nothing(fleet.cloud)


def test_cancelled_for_good(fleet):
    """Wish: cancel for good, also in mid-download, also for what was off meanwhile."""
    running, off, waiting = fleet.add(3)
    campaign = fleet.campaign(stages=ALL)
    for device in (running, off, waiting):
        device.expect("update_firmware")
    running.progress("0.2", "downloading", percent="40", result_code="0", result_msg="")
    waiting.fail("0.2", -1)
    wait_until(lambda: fleet.api.device(waiting.name)["failures"] == 1, "the failure")
    fleet.api.cancel_campaign(campaign)
    for device in (running, off, waiting):
        device.drain(fleet.cloud)
        device.hello("0.1")
    running.progress("0.2", "downloading", percent="50", result_code="0", result_msg="")
    running.fail("0.2", -1)
    for device in (running, off, waiting):
        device.expect_nothing(fleet.cloud)
    assert fleet.show(campaign)["states"] == {"cancelled": 3}
    for action in ("resume", "pause", "cancel", "retry", "start"):
        with pytest.raises(ApiError, match="cancelled") as caught:
            fleet.api.act_on_campaign(campaign, action)
        assert caught.value.status == 409


def test_pause_and_resume(fleet):
    (device,) = fleet.add(1)
    campaign = fleet.campaign()
    device.expect("update_firmware")
    fleet.api.pause_campaign(campaign)
    device.hello("0.1")
    device.expect_nothing(fleet.cloud)
    fleet.api.resume_campaign(campaign)
    finish(device)
    fleet.wait(campaign, "finished")


def test_limits(fleet):
    """Two at a time; a push after a report of one that has begun is none of the limit's."""
    fleet.add(5)
    campaign = fleet.campaign(active_most=2)
    first = fleet.pushed(2)
    other = next(d for d in fleet.devices.values() if d not in first)
    words = fleet.api.why(fleet.api.device(other.name)["id"])["why"]
    assert words == "queued: campaign 'c' has reached its download limit"
    other.hello("0.1")
    other.expect_nothing(fleet.cloud)
    first[0].expect("update_firmware")
    first[0].hello("0.1")
    finish(first[0])
    fleet.pushed(2)
    fleet.api.cancel_campaign(campaign)


def test_starts_per_minute(fleet):
    fleet.add(3)
    campaign = fleet.campaign(starts_per_min=2)
    for device in fleet.pushed(2):
        finish(device)
    fleet.pushed(0)  # the third has to wait for the rest of the minute
    fleet.api.cancel_campaign(campaign)


def test_a_device_that_takes_too_long_has_failed(fleet):
    slow, _off = fleet.add(2)
    campaign = fleet.campaign(timeout_s=1)
    shown = fleet.wait(campaign, "finished")
    assert shown["states"] == {"failed": 2}
    assert fleet.api.device(slow.name)["result_msg"] == "not finished 1 s after the push"
    finish(slow)  # late, but there
    wait_until(lambda: fleet.api.device(slow.name)["state"] == "done", "done")


def test_a_schedule(fleet):
    (device,) = fleet.add(1)
    campaign = fleet.campaign(start_at=time.time() + 3600)
    device.expect_nothing(fleet.cloud)
    assert fleet.show(campaign)["state"] == "scheduled"
    fleet.api.cancel_campaign(campaign)
    begins = time.time() + 1.5
    campaign = fleet.campaign(start_at=begins)
    push = device.expect("update_firmware")
    assert time.time() >= begins
    device.update(push)
    fleet.wait(campaign, "finished")


def test_a_query_that_is_none_any_more_ends_its_campaign_alone(fleet):
    """An older version may have taken it for one; reports are taken in all the same."""
    (device,) = fleet.add(1)
    begins = time.time() + 1.5
    wrong = fleet.campaign(start_at=begins)
    with fleet.cloud.database.writing() as session:
        session.get(models.Campaign, wrong).query = "version<<0.3"
    campaign = fleet.campaign(start_at=begins)
    finish(device)
    fleet.wait(campaign, "finished")
    assert "version<<0.3" in fleet.wait(wrong, "cancelled")["reason"]


def test_a_draft_is_started_by_hand(fleet):
    (device,) = fleet.add(1)
    campaign = fleet.campaign(draft=True)
    device.expect_nothing(fleet.cloud)
    fleet.api.start_campaign(campaign)
    finish(device)
    fleet.wait(campaign, "finished")


def test_back_after_weeks(fleet):
    """It was off during one campaign and the next: it gets the second's target, and only that."""
    (device,) = fleet.add(1)
    fleet.devices.clear()
    device.__exit__()
    one = fleet.campaign("0.2")
    two = fleet.campaign("0.3")
    wait_until(lambda: fleet.api.device(device.name)["target"] == "0.3", "the second target")
    wait_until(lambda: fleet.show(one)["state"] == "finished", "the end of the first")
    (again,) = fleet.add(1)
    assert again.expect("update_firmware")["version"] == "0.3"
    again.expect_nothing(fleet.cloud)
    assert fleet.show(one)["states"] == {"superseded": 1}
    again.progress("0.3", "done", result_code="0", result_msg="")
    fleet.wait(two, "finished")


def test_a_late_stage_takes_nothing_back(fleet):
    """A device that was given something newer meanwhile keeps that."""
    fleet.add(2)
    slow = fleet.campaign("0.2", stages=[{"count": 1}, *ALL], success_share=1)
    (first,) = fleet.pushed(1)
    other = next(d for d in fleet.devices.values() if d is not first)
    fleet.api.push(other.name, "0.3")
    assert other.expect("update_firmware")["version"] == "0.3"
    finish(first)
    shown = fleet.wait(slow, "finished")
    assert shown["states"] == {"done": 1, "superseded": 1}
    assert fleet.api.device(other.name)["target"] == "0.3"
    other.expect_nothing(fleet.cloud)


def test_tags_groups_and_who_did_it(fleet):
    one, two = fleet.add(2)
    found = fleet.api.device(one.name)
    fleet.api.tag(found["id"], add=["b", "a"])
    assert fleet.api.tag(found["id"], add=["c"], remove=["b"])["tags"] == ["a", "c"]
    name = f"beta {fleet.product}"
    group = fleet.api.put_group(name, f"product:{fleet.product} tag:a")
    assert group["devices"] == 1 and group in fleet.api.groups()
    campaign = fleet.api.create_campaign(name="c", version="0.2", group=name, stages=ALL)["id"]
    finish(one)
    fleet.wait(campaign, "finished")
    two.expect_nothing(fleet.cloud)
    assert fleet.api.put_group(name, "tag:nobody")["devices"] == 0
    fleet.api.remove_group(group["id"])
    with pytest.raises(ApiError, match="group .* does not exist"):
        fleet.api.create_campaign(name="c", version="0.2", group=name)
    lines = [line for line in fleet.api.audit() if line["subject"] in (one.name, name)]
    assert {line["who"] for line in lines} == {"local"}
    assert [line["action"] for line in lines] == [
        "device tag", "device tag", "group set", "group set", "group removed",
    ]  # fmt: skip


def test_one_device_is_cancelled_and_tried_again(fleet):
    (device,) = fleet.add(1)
    fleet.api.push(device.name, "0.2")
    device.expect("update_firmware")
    number = fleet.api.device(device.name)["id"]
    assert fleet.api.cancel_device(number)["state"] == "cancelled"
    device.hello("0.1")
    device.expect_nothing(fleet.cloud)
    with pytest.raises(ApiError, match="nothing to cancel"):
        fleet.api.cancel_device(number)
    assert fleet.api.retry_device(number)["state"] == "waiting"
    finish(device)
    wait_until(lambda: fleet.api.device(device.name)["state"] == "done", "done")
    with pytest.raises(ApiError, match="nothing to retry"):
        fleet.api.retry_device(number)


def test_what_is_no_campaign(api):
    for rules, words in (
        ({}, "either group or query"),
        ({"query": "x", "group": "y"}, "either group or query"),
        ({"query": "x"}, "not a valid term"),
        ({"group": "nobody"}, "does not exist"),
        ({"query": "all", "stages": [{}]}, "^stages: a stage must have either a count or a"),
        ({"query": "all", "stages": [{"percent": 101}]}, "^stages: must be at most 100$"),
        ({"query": "all", "success_share": 2}, "^success_share: must be at most 1$"),
        ({"query": "all", "version": "none"}, "firmware 'none' does not exist"),
    ):
        with pytest.raises(ApiError, match=words):
            api.create_campaign(**{"name": "c", "version": "0.2", **rules})
    with pytest.raises(ApiError, match="campaign 999 does not exist"):
        api.campaign(999)
