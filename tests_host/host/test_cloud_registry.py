"""Who belongs to the fleet: pending, accepted, retired, deleted; and rules in both ways in."""

from __future__ import annotations

import contextlib
import time
from types import SimpleNamespace

import postgres_support
import pytest
from cloud_support import Device
from pages_support import Visitor, let_in
from sqlalchemy import func, insert, select, text
from typer.testing import CliRunner
from waiting import wait_until

from ivota_tools.api_client import ApiError
from ivota_tools.cli import app as cli
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.mqtt.cloud_session import Message
from ivota_tools.cloud.mqtt.report_ingestion import take_in
from ivota_tools.cloud.rollout import bulk_actions, device_actions, device_query
from ivota_tools.cloud.rollout.assignment_states import BackOff
from ivota_tools.cloud.store import device_acceptance, models
from ivota_tools.cloud.store.database import Database

VERSION = b'{"type":"report_version","report":{"version":"0.1"}}'


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    url = postgres_support.new_database() if request.param == "postgresql" else None
    with contextlib.closing(Database(url or tmp_path / "ivota.db")) as made:
        yield made


@pytest.fixture
def cloud(tmp_path):
    """Where new devices wait."""
    with Cloud(tmp_path / "c", accept_all=False) as running:
        yield running


@pytest.fixture
def firmware(api, tmp_path):
    (tmp_path / "f.bin").write_bytes(b"x" * 100)
    return api.upload(tmp_path / "f.bin", "0.2")["firmware"]


def hear(database, *names, accept_all=False):
    with database.writing() as session:
        messages = [Message(f"$ota/report/P/{name}", VERSION, 1, False, 1, 1) for name in names]
        take_in(session, messages, time.time(), BackOff(), accept_all)


def test_a_new_device_is_answered_and_given_nothing(cloud, api, firmware, tmp_path):
    with Device(cloud.mqtt_port, "P", "new") as device:
        device.hello("0.1")
        assert api.device("new")["status"] == "pending"
        with pytest.raises(ApiError, match="accept it first"):
            api.push("new", "0.2")
        campaign = api.create_campaign(name="all", version="0.2", query="all")["id"]
        assert api.query("") == [] and api.campaign_devices(campaign) == []
        device.hello("0.1")
        device.expect_nothing(cloud)
        assert [each["devices"] for each in api.act_on_matching("all", "accept")] == [1]
        api.push("new", "0.2")
        device.expect("update_firmware")


def test_those_that_wait_are_bounded_and_the_oldest_goes(database, monkeypatch):
    real = device_acceptance.make_room
    monkeypatch.setattr(device_acceptance, "make_room", lambda session: real(session, 5))
    hear(database, "mine", accept_all=True)
    for number in range(20):
        hear(database, f"d{number}")
    with database.reading() as session:
        found = session.scalars(select(models.Device.device_name).order_by(models.Device.id))
        assert list(found) == ["mine", "d15", "d16", "d17", "d18", "d19"]
        # Nothing of those that were forgotten is left.
        assert session.scalar(select(func.count()).select_from(models.Report)) == 6


def test_known_devices_have_no_limit(database):
    with database.writing() as session:
        rows = [{"product_id": "P", "device_name": f"d{n}", "garbled": 0, "revision": 0}
                for n in range(100_000)]  # fmt: skip
        session.execute(insert(models.Device), rows)
    hear(database, "one-more", accept_all=True)
    with database.reading() as session:
        assert session.scalar(
            select(models.Device.version).where(models.Device.device_name == "one-more")
        )


def test_the_database_compares_any_number_of_versions(database):
    """With an index, also for devices that were inserted in bulk."""
    with database.writing() as session:
        rows = [{"product_id": "P", "device_name": f"d{n}", "garbled": 0, "revision": 0,
                 "version": f"0.{n}"} for n in range(20_000)]  # fmt: skip
        session.execute(insert(models.Device), rows)
    with database.reading() as session:
        for query, count in (("version>0", 19_999), ("version>=0.100", 19_900),
                             ("-version<0.5 version<0.9", 4)):  # fmt: skip
            assert device_query.count(session, query, 0) == count
        found = device_query.find(session, "version>0.100", 0, after=500, limit=100)
        assert [device.id for device in found] == list(range(501, 601))
        if session.get_bind().dialect.name == "sqlite":
            found = select(models.Device.id).where(
                *device_query.accepted(session, "version<0.9", 0)
            )
            words = found.compile(session.get_bind(), compile_kwargs={"literal_binds": True})
            plan = session.execute(text(f"EXPLAIN QUERY PLAN {words}")).all()
            assert "COVERING INDEX by_version (status=? AND version_key<?)" in str(plan)


def test_a_retired_device_is_left_alone_and_kept(cloud, api, firmware):
    with Device(cloud.mqtt_port, "P", "old") as device:
        device.hello("0.1")
        number = api.device("old")["id"]
        api.accept_device(number)
        api.push("old", "0.2")
        device.expect("update_firmware")
        assert api.retire_device(number)["state"] == "cancelled"
        with pytest.raises(ApiError, match="retired"):
            api.push("old", "0.2")
        device.hello("0.1")
        device.expect_nothing(cloud)
        assert api.device("old")["status"] == "retired" and len(api.attempts(number)) == 1
        api.accept_device(number)
        api.retry_device(number)
        device.expect("update_firmware")


def test_what_is_deleted_is_gone(cloud, api, firmware, tmp_path):
    file = cloud.folder / "firmware" / f"{firmware['sha256']}.bin"
    with Device(cloud.mqtt_port, "P", "gone") as device:
        device.hello("0.1")
    number = api.device("gone")["id"]
    api.accept_device(number)
    api.tag(number, ["beta"])
    draft = api.create_campaign(name="d", version="0.2", query="all", draft=True)["id"]
    running = api.create_campaign(name="r", version="0.2", query="all")["id"]
    for wrong in (lambda: api.delete_firmware(firmware["id"]),
                  lambda: api.delete_campaign(running)):  # fmt: skip
        with pytest.raises(ApiError, match="cancel") as caught:
            wrong()
        assert caught.value.status == 409
    wait_until(lambda: api.attempts(number), "its attempt")
    api.cancel_campaign(running)
    wait_until(lambda: api.campaign(running)["ended_at"], "its end")
    api.delete_campaign(draft)
    api.delete_campaign(running)
    assert api.campaigns() == []
    api.delete_firmware(firmware["id"])
    assert api.firmware() == [] and not file.exists()
    with pytest.raises(ApiError, match="firmware .* does not exist"):
        api.push("gone", "0.2")
    # What was given once is still told, and the same file may come again.
    assert api.attempts(number)[0]["firmware_id"] == firmware["id"]
    again = api.upload(tmp_path / "f.bin", "0.2")["firmware"]
    assert again["id"] == firmware["id"] and file.exists()
    assert again["uploaded_at"] > firmware["uploaded_at"]
    logged = [each["action"] for each in api.audit() if each["action"].startswith("firmware")]
    assert logged == ["firmware upload", "firmware delete", "firmware upload"]
    api.delete_device(number)
    assert api.devices() == []
    with cloud.database.reading() as session:
        for table in (models.Report, models.Assignment, models.Change, models.DeviceTag):
            assert session.scalar(select(func.count()).select_from(table)) == 0
    with Device(cloud.mqtt_port, "P", "gone") as device:
        device.hello("0.1")  # and waits again
    assert api.device("gone")["status"] == "pending"


def test_a_device_that_is_accepted_again_is_not_deleted(database, monkeypatch):
    """Between two transactions of its deletion, alone and with others; reports stop nothing."""
    for _ in range(3):
        hear(database, "alone", "back", "talks", accept_all=True)
    with database.reading() as session:
        alone, back, talks = session.scalars(select(models.Device.id).order_by(models.Device.id))
    again = []

    def pause(_):
        hear(database, "talks")
        with database.writing() as session:
            for number in again:
                device_actions.accept_device(session, session.get(models.Device, number), "w")
            again.clear()

    monkeypatch.setattr(device_acceptance, "ROWS_MOST", 2)
    monkeypatch.setattr(device_acceptance, "time", SimpleNamespace(sleep=pause))
    again.append(alone)
    with pytest.raises(device_acceptance.StatusError, match="P/alone was accepted again"):
        device_actions.delete_device(database, alone, "w")
    again.append(back)
    order = bulk_actions.Order("-name:alone", bulk_actions.DELETE)
    done = bulk_actions.do_part(database, order, [back, talks], "w")
    assert done[:2] == (1, [(1, bulk_actions.KEPT)])
    with database.reading() as session:
        left = session.execute(select(models.Device.device_name, models.Device.status))
        assert sorted(left.tuples()) == [("alone", "accepted"), ("back", "accepted")]


def test_the_same_by_commands(cloud, api, firmware):
    def ivota(*words, code=0):
        done = CliRunner(env={"IVOTA_URL": cloud.api_url}).invoke(cli.app, [*map(str, words)])
        assert done.exit_code == code, done.output
        return done.output

    for name in ("a", "b", "c"):
        with Device(cloud.mqtt_port, "P", name) as device:
            device.hello("0.1")
    assert "pending" in ivota("devices", "--status", "pending")
    assert "P/a accepted" in ivota("accept", "a")
    assert "2 accepted" in ivota("accept", "--all", "--yes")
    assert "no devices are pending" in ivota("devices", "--status", "pending")
    assert "P/b retired" in ivota("retire", "b", "--yes")
    assert "nothing was deleted" in ivota("delete", "b", code=1)
    assert "P/b deleted" in ivota("delete", "b", "--yes")
    ivota("campaign", "create", "0.2", "--query", "all", "--draft")
    assert "campaign 1 deleted" in ivota("campaign", "delete", 1, "--yes")
    assert "0.2 deleted" in ivota("firmware", "--delete", firmware["id"], "--yes")
    assert "specify devices" in ivota("accept", code=1)


def test_the_same_by_pages(cloud, api, firmware):
    with Device(cloud.mqtt_port, "P", "a") as device:
        device.hello("0.1")
    number = api.device("a")["id"]
    let_in(cloud, "operator")
    with Visitor(cloud.api_url, "operator") as visitor:
        assert "1 pending device " in visitor.get("/")
        assert "P/a" in visitor.get("/?state=pending") and "P/a" not in visitor.get("/?q=zzz")
        visitor.get("/")
        assert "Accepted 1 device." in visitor.post("/pending/accept")
        assert "P/a" in visitor.get("/")
        visitor.get(f"/devices/{number}")
        assert "is retired" in visitor.post(f"/devices/{number}/retire")
        assert "is accepted" in visitor.post(f"/devices/{number}/accept")
        assert "history were deleted" in visitor.post(f"/devices/{number}/delete")
        visitor.get(f"/firmware/{firmware['id']}")
        assert "0.2 was deleted" in visitor.post(f"/firmware/{firmware['id']}/delete")


@pytest.mark.parametrize("way", ["api", "page"])
@pytest.mark.parametrize(
    "rule",
    ["patch as target", "pending", "too many tags", "long tag", "campaign that runs", "in use"],
)
def test_a_rule_holds_both_ways(cloud, api, firmware, way, rule):
    """Each thing that must not be, asked for through the API and by a form."""
    with Device(cloud.mqtt_port, "P", "a") as device:
        device.hello("0.1")
    number = api.device("a")["id"]
    if rule != "pending":
        api.accept_device(number)
    with cloud.database.writing() as session:
        patch = models.Firmware(
            version="0.2",
            kind="patch",
            size=9,
            md5="m",
            sha256="s" * 64,
            uploaded_at=0.0,
            whole_id=firmware["id"],
            base_version="0.1",
        )
        session.add(patch)
        session.flush()
        patch_id = patch.id
    campaign = api.create_campaign(name="r", version="0.2", query="all", draft=True)
    with cloud.database.writing() as session:
        session.get_one(models.Campaign, campaign["id"]).state = "paused"
    tags = [f"t{n}" for n in range(101)] if rule == "too many tags" else ["x" * 65]
    words = {
        "patch as target": "patch",
        "pending": "accept it first",
        "too many tags": "100",
        "long tag": "64",
        "campaign that runs": "cancel it first",
        "in use": "in use",
    }[rule]
    orders = {
        "patch as target": (lambda: api.push("a", firmware_id=patch_id),
                            f"/devices/{number}/push", {"firmware": str(patch_id)}),
        "pending": (lambda: api.push("a", "0.2"),
                    f"/devices/{number}/push", {"firmware": str(firmware["id"])}),
        "campaign that runs": (lambda: api.delete_campaign(campaign["id"]),
                               f"/campaigns/{campaign['id']}/delete", {}),
        "in use": (lambda: api.delete_firmware(firmware["id"]),
                   f"/firmware/{firmware['id']}/delete", {}),
    }  # fmt: skip
    by_api, path, form = orders.get(
        rule,
        (lambda: api.tag(number, tags), f"/devices/{number}/tags", {"tags": ",".join(tags)}),
    )
    if way == "api":
        with pytest.raises(ApiError, match=words):
            by_api()
    else:
        let_in(cloud, "operator")
        with Visitor(cloud.api_url, "operator") as visitor:
            visitor.get("/")
            assert words in visitor.send(path, **form)
    with cloud.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(models.Assignment)) == 0
        assert session.scalar(select(func.count()).select_from(models.DeviceTag)) == 0
        assert session.get(models.Firmware, firmware["id"]).deleted_at is None
        assert session.get(models.Campaign, campaign["id"])
    assert device_actions.TAGS_MOST == 100
