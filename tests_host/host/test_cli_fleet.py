"""`ivota campaign`, `group`, `token` and their like, as people and scripts use them."""

import json

import pytest
from cloud_support import Device
from typer.testing import CliRunner

from ivota_tools import cli
from ivota_tools.client_api import Client
from ivota_tools.cloud import Cloud
from ivota_tools.cloud.access import local_token


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
        done = CliRunner(env=variables).invoke(cli.app, [str(word) for word in words])
        assert done.exit_code == code, (done.output, done.exception)
        return done.output

    return run


def test_a_campaign_from_the_command_line(cloud, ivota):
    with Device(cloud.mqtt_port, "P", "one") as one, Device(cloud.mqtt_port, "P", "two") as two:
        one.hello("0.1")
        two.hello("0.1")
        assert "P/one beta" in ivota("tag", "P/one", "beta", "x", "--remove", "x")
        assert "beta: 1 devices" in ivota("group", "set", "beta", "tag:beta version<0.2")
        assert "tag:beta version<0.2" in ivota("group", "list")
        assert "P/one" in ivota("group", "show", "beta")
        assert "P/two" in ivota("group", "show", "version:0.1 -tag:beta")
        shown = ivota("campaign", "create", "0.2", "--group", "beta", "--stages", "1,100%",
                      "--soak", "1s", "--at-once", 5, "--timeout", "1h")  # fmt: skip
        assert "campaign 1 0.2 → 0.2 running" in shown and "stage 1" in shown
        push = one.expect("update_firmware")
        assert "no pushes until resumed" in ivota_after_pause(ivota, "P/one")
        one.update(push)
        assert "1 of 1 done, 0 failed" in ivota("campaign", "watch", 1)
        found = json.loads(ivota("campaign", "show", 1, "--devices", "--json"))
        assert found["state"] == "finished" and found["devices"][0]["device"] == "P/one"
        assert "finished" in ivota("campaign", "list")
        assert "0 devices are tried again" in ivota("campaign", "retry", 1)
        assert "P/one done: it runs 0.2" not in ivota("why", "P/two")
        two.expect_nothing(0.1)
        ivota("campaign", "create", "0.2", "-q", "name:two", "--draft")
        assert "begins when it is started" in ivota("campaign", "show", 2)
        ivota("campaign", "start", 2)
        two.expect("update_firmware")
        assert "cancelled" in ivota("campaign", "cancel", 2)
        assert "is cancelled already" in ivota("campaign", "cancel", 2, code=1)
        assert "P/two" in ivota("retry", "two")
        two.expect("update_firmware")
        assert "cancelled" in ivota("cancel", "two")
        listed = ivota("attempts", "two")
        assert listed.count("0.2") == 2 and listed.count("cancelled") == 2
        assert [
            each["campaign_id"] for each in json.loads(ivota("attempts", "two", "--json"))
        ] == [
            2,
            None,
        ]
        assert "done" in ivota("attempts", "one", "--reports", 1)
        said = json.loads(ivota("attempts", "one", "--reports", 1, "--json"))
        assert said[-1]["state"] == "done" and said[0]["state"] == "downloading"
        assert "two has 2 attempts" in ivota("attempts", "two", "--reports", 3, code=1)
        assert "it takes in reports" in ivota("health")
        assert json.loads(ivota("health", "--json"))["counters"]["report_version"] >= 2
        ivota("campaign", "create", "0.2", "-q", "all", "--start-at", "+1d")
        assert "begins at 20" in ivota("campaign", "show", 3)
        assert "campaign pause" in ivota("audit")
        assert "0.2" in ivota("firmware")
        assert "why" in json.loads(ivota("devices", "one", "--json"))


def ivota_after_pause(ivota, device):
    """What is said of a device while its campaign is paused; it is resumed afterwards."""
    ivota("campaign", "pause", 1)
    said = ivota("why", device)
    ivota("campaign", "resume", 1)
    return said


@pytest.mark.parametrize(
    "option, value, words",
    [
        ("--stages", "x", "no stage"),
        ("--stages", "x%", "no stage"),
        ("--success", "most", "no share"),
        ("--soak", "5", "no time span"),
        ("--start-at", "tomorrow", "no time"),
        ("--query", "beta", "not part of a query"),
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
        assert "for viewer" in ivota("group", "set", "g", "", code=1, token=reader)
        ivota("group", "set", "g", "", token=worker)
        assert "needs admin" in ivota("token", "list", code=1, token=worker)
        lines = json.loads(ivota("audit", "--json", token=reader))
        assert [each["who"] for each in lines if each["subject"] == "g"] == ["hands"]
        assert "already" in ivota("token", "create", "eyes", code=1, token=admin)
        ivota("token", "remove", "eyes", token=admin)
        ivota("group", "list", code=1, token=reader)
        assert "hands" in ivota("token", "list", token=admin)
        assert worker not in ivota("audit", token=admin)
    finally:
        for name in ("hands", "boss"):
            ivota("token", "remove", name, token=admin)


def test_users_from_the_command_line(tmp_path):
    with Cloud(tmp_path / "c") as cloud:
        token = local_token(cloud.folder)
        words = {"IVOTA_URL": cloud.api_url, "IVOTA_TOKEN": token, "COLUMNS": "200"}

        def run(*arguments, code=0, password=None):
            runner = CliRunner(env={**words, "IVOTA_PASSWORD": password})
            done = runner.invoke(cli.app, ["user", *arguments])
            assert done.exit_code == code, (done.output, done.exception)
            return done.output

        first = ("create", "boss", "--role", "admin")
        assert "10 to 256 characters" in run(*first, code=1, password="short")
        assert "boss may sign in, as admin" in run(*first, password="a sentence is good")
        run("create", "Eyes", "--role", "viewer", password="a sentence is good")
        run("role", "eyes", "operator")
        assert json.loads(run("list", "--json"))[1]["role"] == "operator"
        assert "eyes" in run("list") and "never" in run("list")
        run("password", "eyes", password="another sentence")
        run("remove", "eyes")
        assert "no user 'eyes'" in run("remove", "eyes", code=1)
        assert "last admin" in run("remove", "boss", code=1)
