"""`ivota campaign`, `group`, `token` and their like, as people and scripts use them."""

import json
import re
from contextlib import ExitStack

import pytest
from cloud_support import Device
from typer.testing import CliRunner
from waiting import wait_until

from ivota_tools.api_client import Client
from ivota_tools.cli import app
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.accounts.tokens import local_token


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cloud")
    (folder / "f.bin").write_bytes(b"x" * 1000)
    with Cloud(folder / "c") as running, Client(running.api_url) as client:
        client.upload(folder / "f.bin", "0.2")
        yield running


@pytest.fixture
def ivota(cloud):
    def run(*words, code=0, token=None):
        variables = {"IVOTA_URL": cloud.api_url, "IVOTA_TOKEN": token, "COLUMNS": "200"}
        done = CliRunner(env=variables).invoke(app.app, [str(word) for word in words])
        assert done.exit_code == code, (done.output, done.exception)
        return done.output

    return run


@pytest.fixture
def device(cloud):
    """Connects a device, which runs 0.1."""
    with ExitStack() as connected:

        def connect(name):
            found = connected.enter_context(Device(cloud.mqtt_port, "P", name))
            found.hello("0.1")
            return found

        yield connect


def created(ivota, *options):
    """The number of a new campaign of 0.2."""
    rules = "--stages", "100%", "--all-versions", "--stop", "never"
    return json.loads(ivota("campaign", "create", "0.2", *rules, *options, "--yes", "--json"))[
        "id"
    ]


def test_tags_make_a_group(device, ivota):
    device("tagged")
    device("plain")
    assert "P/tagged beta" in ivota("tag", "P/tagged", "beta", "x", "--remove", "x")
    assert "beta: 1 devices" in ivota("group", "set", "beta", "tag:beta version<0.2")
    assert "tag:beta version<0.2" in ivota("group", "list")
    shown = ivota("group", "show", "beta")
    assert "P/tagged" in shown and "P/plain" not in shown
    shown = ivota("group", "show", "version:0.1 -tag:beta")
    assert "P/plain" in shown and "P/tagged" not in shown


def test_a_campaign_from_its_start_to_its_end(cloud, device, ivota):
    one, other = device("one"), device("other")
    ivota("group", "set", "first", "name:one version<0.2")
    shown = ivota("campaign", "create", "0.2", "--group", "first", "--stages", "1,100%",
                  "--soak", "1s", "--at-once", 5, "--timeout", "1h", "--yes")  # fmt: skip
    number = re.search(r"campaign (\d+) 0\.2 running", shown)[1]
    assert "stage 1" in shown
    push = one.expect("update_firmware")
    ivota("campaign", "pause", number)
    assert "no pushes until it is resumed" in ivota("why", "P/one")
    ivota("campaign", "resume", number)
    one.update(push)
    assert "1 of 1 done, 0 failed" in ivota("campaign", "watch", number)
    found = json.loads(ivota("campaign", "show", number, "--devices", "--json"))
    assert found["state"] == "finished" and found["devices"][0]["device"] == "P/one"
    assert "finished" in ivota("campaign", "list")
    assert "nothing to retry: no device has failed" in ivota("campaign", "retry", number, code=1)
    assert ivota("why", "P/other") == "P/other idle: no update has been assigned to the device\n"
    other.expect_nothing(cloud)
    said = ivota("audit")
    assert "campaign pause" in said and '{"' not in said and '":' not in said


def test_a_draft_is_started_and_cancelled_by_hand(device, ivota):
    two = device("two")
    number = created(ivota, "-q", "name:two", "--draft")
    assert "not started yet" in ivota("campaign", "show", number)
    ivota("campaign", "start", number, "--yes")
    two.expect("update_firmware")
    assert "cancelled" in ivota("campaign", "cancel", number, "--yes")
    assert "is already cancelled" in ivota("campaign", "cancel", number, "--yes", code=1)


def test_a_campaign_waits_for_its_time(ivota):
    number = created(ivota, "-q", "name:nobody", "--start-at", "+1d")
    assert "starts at 20" in ivota("campaign", "show", number)
    nobody = created(ivota, "--query", "tag:of-nobody")
    assert "no devices: the query matched none" in ivota("campaign", "show", nobody)


def test_what_one_device_was_given(device, ivota):
    three = device("three")
    number = created(ivota, "-q", "name:three")
    three.expect("update_firmware")
    ivota("campaign", "cancel", number, "--yes")
    assert "P/three" in ivota("retry", "three")
    three.update(three.expect("update_firmware"))
    wait_until(lambda: "done" in ivota("attempts", "three"), "the report")
    listed = ivota("attempts", "three")
    assert listed.count("0.2") == 2 and "cancelled" in listed and "done" in listed
    attempts = json.loads(ivota("attempts", "three", "--json"))
    assert [each["campaign_id"] for each in attempts] == [number, None]
    assert "done" in ivota("attempts", "three", "--reports", 2)
    said = json.loads(ivota("attempts", "three", "--reports", 2, "--json"))
    assert said[-1]["state"] == "done" and said[0]["state"] == "downloading"
    assert "has no attempt 3" in ivota("attempts", "three", "--reports", 3, code=1)
    assert "why" in json.loads(ivota("devices", "three", "--json"))


def test_an_update_is_taken_back(device, ivota):
    four = device("four")
    ivota("push", "0.2", "-d", "four")
    four.expect("update_firmware")
    assert "cancelled" in ivota("cancel", "four")
    assert "cancelled" in ivota("attempts", "four")


def test_health_counts_what_came_in(device, ivota):
    device("five")
    assert "healthy; processing reports" in ivota("health")
    assert json.loads(ivota("health", "--json"))["counters"]["report_version"] >= 1
    assert "0.2" in ivota("firmware")


@pytest.mark.parametrize(
    "option, value, words",
    [
        ("--stages", "x", "not a valid stage"),
        ("--stages", "x%", "not a valid stage"),
        ("--success", "most", "not a valid share"),
        ("--soak", "5", "not a valid duration"),
        ("--start-at", "tomorrow", "not a valid time"),
        ("--query", "beta", "not a valid term"),
    ],
)
def test_what_cannot_be_understood(ivota, option, value, words):
    query = () if option == "--query" else ("-q", "all")
    assert words in ivota("campaign", "create", "0.2", *query, option, value, code=1)


def test_tokens_lock_the_rest_out(cloud, ivota):
    assert "the first token" in ivota("token", "create", "x", "--role", "viewer", code=1)
    admin = ivota("token", "create", "boss", "--role", "admin").strip()
    try:
        assert "IVOTA_TOKEN" in ivota("devices", code=1)
        reader = ivota("token", "create", "eyes", "--role", "viewer", token=admin).strip()
        worker = ivota("token", "create", "hands", token=admin).strip()
        ivota("group", "list", token=reader)
        assert "has the role viewer" in ivota("group", "set", "g", "all", code=1, token=reader)
        ivota("group", "set", "g", "all", token=worker)
        assert "needs admin" in ivota("token", "list", code=1, token=worker)
        lines = json.loads(ivota("audit", "--json", token=reader))
        assert [each["who"] for each in lines if each["subject"] == "g"] == ["hands"]
        assert "already" in ivota("token", "create", "eyes", code=1, token=admin)
        ivota("token", "remove", "eyes", "--yes", token=admin)
        ivota("group", "list", code=1, token=reader)
        assert "hands" in ivota("token", "list", token=admin)
        assert worker not in ivota("audit", token=admin)
    finally:
        for name in ("hands", "boss"):
            ivota("token", "remove", name, "--yes", token=admin)


def test_users_come_and_go(tmp_path):
    with Cloud(tmp_path / "c") as cloud:
        token = local_token(cloud.folder)
        words = {"IVOTA_URL": cloud.api_url, "IVOTA_TOKEN": token, "COLUMNS": "200"}

        def run(*arguments, code=0, password=None):
            runner = CliRunner(env={**words, "IVOTA_PASSWORD": password})
            done = runner.invoke(app.app, ["user", *arguments])
            assert done.exit_code == code, (done.output, done.exception)
            return done.output

        first = ("create", "boss", "--role", "admin")
        assert "10 to 256 characters" in run(*first, code=1, password="short")
        assert "boss can sign in with the role admin" in run(*first, password="a sentence is good")
        run("create", "Eyes", "--role", "viewer", password="a sentence is good")
        run("role", "eyes", "operator")
        assert json.loads(run("list", "--json"))[1]["role"] == "operator"
        assert "eyes" in run("list") and "never" in run("list")
        run("password", "eyes", password="another sentence")
        run("remove", "eyes", "--yes")
        assert "user 'eyes' does not exist" in run("remove", "eyes", "--yes", code=1)
        assert "last admin" in run("remove", "boss", "--yes", code=1)
