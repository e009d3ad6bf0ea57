"""Brokers that others run: what they drop, mix up or ask for, and what the cloud says of it."""

import logging
import os
import subprocess
import sys

import pytest
from cloud_support import Device
from odd_broker import OddBroker
from pages_support import PASSWORD, Visitor
from waiting import wait_until

from ivota_tools.api_client import ApiError, Client
from ivota_tools.cloud import Cloud, CloudError
from ivota_tools.cloud.mqtt import delivery_probe
from ivota_tools.cloud.mqtt.delivery_probe import BrokerProbe
from ivota_tools.cloud.mqtt.topic_prefix import TopicPrefix


def start(folder, broker, **options):
    return Cloud(folder, broker=f"127.0.0.1:{broker.port}", **options)


@pytest.fixture
def firmware(tmp_path):
    path = tmp_path / "f.bin"
    path.write_bytes(b"x" * 1000)
    return path


def test_a_broker_that_drops_what_it_acknowledges_is_noticed(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(delivery_probe, "PATIENCE_S", 0.2)
    caplog.set_level(logging.INFO, "ivota.cloud")
    with OddBroker(drops="$") as broker:
        with start(tmp_path / "a", broker) as cloud, Client(cloud.api_url) as api:
            wait_until(lambda: not api.health()["ok"], "the problem")
            assert "drops topics that begin with $" in api.health()["problem"]
            api.create_user("ann", PASSWORD, "admin")
            with Visitor(cloud.api_url, "ann") as ann:
                assert "drops topics that begin with $" in ann.get("/")
        assert caplog.text.count("loses messages") == 1
        # With other topics it is as good as any.
        with (
            start(tmp_path / "b", broker, topic_prefix="fleet/ota") as cloud,
            Client(cloud.api_url) as api,
        ):
            wait_until(lambda: "fleet/ota/update/ivota/" in str(broker.topics), "the check")
            assert api.health()["ok"]


def test_a_broker_that_closes_the_connection_is_left_alone(tmp_path):
    with (
        OddBroker(closes="$ota/report/ivota/") as broker,
        start(tmp_path, broker) as cloud,
        Client(cloud.api_url) as api,
    ):
        wait_until(lambda: "closes the connection" in str(api.health()["problem"]), "the problem")
        wait_until(lambda: api.health()["mqtt_connected"], "the link")
        with Device(broker.port, "P", "d") as device:
            device.hello("1")


def test_the_check_waits_for_older_messages_and_comes_again():
    now, sent, check = [0.0], [], None
    check = BrokerProbe("me", lambda *message: sent.append(message), lambda: now[0])
    check.tick()
    assert sent == []
    check.connected(updates=True)
    check.tick()
    assert [topic for topic, _ in sent] == [check.report_topic, check.update_topic]
    for _ in range(50):  # a backlog of reports
        now[0] += 9
        assert not check.heard("$ota/report/P/d", b"{}")
        check.tick()
    assert check.problem is None
    for problem in (False, True):  # two in a row
        now[0] += 11
        check.tick()
        assert ("does not deliver" in (check.problem or "")) == problem
    assert len(sent) == 4
    now[0] += delivery_probe.EVERY_S
    check.tick()
    assert len(sent) == 6
    for topic, payload in sent:  # those of before are too old to say anything
        assert check.heard(topic, payload)
    assert check.problem is None and check.dots_are_slashes is False


@pytest.mark.parametrize(
    "prefix", ["", "/", "a/", "a//b", "a+", "a/#", "ä", "a b", "$SYS", "$share/x", "a" * 65]
)
def test_what_begins_no_topic(prefix):
    with pytest.raises(CloudError, match="--topic-prefix"):
        TopicPrefix(prefix)


@pytest.mark.parametrize("sign_in", [False, True])
def test_another_beginning_of_topics(tmp_path, firmware, sign_in):
    """With our own broker, whose rules follow it."""
    with (
        Cloud(tmp_path / "c", topic_prefix="fleet/ota", sign_in=sign_in) as cloud,
        Client(cloud.api_url) as api,
    ):
        wait_until(lambda: cloud._worker.session.check.dots_are_slashes is False, "the check")
        if sign_in:
            return
        api.upload(firmware, "2")
        with Device(cloud.mqtt_port, "P", "d", prefix="fleet/ota") as device:
            device.hello("1")
            api.push("P/d", "2")
            device.update(device.expect("update_firmware"))
            wait_until(lambda: api.device("P/d")["state"] == "done", "done")


def test_names_that_a_broker_mixes_up(tmp_path, firmware):
    with (
        OddBroker(slashes=True) as broker,
        start(tmp_path / "c", broker) as cloud,
        Client(cloud.api_url) as api,
    ):
        api.upload(firmware, "2")
        wait_until(lambda: cloud._worker.session.check.dots_are_slashes, "the check")
        # One that is known by its dots is served by that name.
        api.push("P/a.b", "2", new=True)
        with Device(broker.port, "P", "a.b") as device:
            device.hello("1")
            device.update(device.expect("update_firmware"))
            wait_until(lambda: api.device("P/a.b")["state"] == "done", "done")
        assert [each["device_name"] for each in api.devices()] == ["a.b"]
        for name in ("P/a/b", "P.a/b"):
            with pytest.raises(ApiError, match=r"treats . and / in topics as the same"):
                api.push(name, "2", new=True)
        api.push("P/a_b", "2", new=True)


def test_the_brokers_password(tmp_path):
    with OddBroker() as broker:
        where = f"127.0.0.1:{broker.port}"
        for options, words in (
            ({"broker": f"mqtt://us%40er:p%3Aa%2Fb%25@{where}"}, ("us@er", "p:a/b%")),
            ({"broker": f"user@{where}", "broker_password": "p%41"}, ("user", "p%41")),
        ):
            with Cloud(tmp_path / words[0], **options):
                assert broker.words[-1] == words
    with pytest.raises(CloudError, match="already contains a password"):
        Cloud(tmp_path, broker="user:one@host", broker_password="two")
    with pytest.raises(CloudError, match="needs a user name"):
        Cloud(tmp_path, broker="host", broker_password="two")


@pytest.mark.parametrize("by", ["a file", "the environment"])
def test_a_password_that_is_on_no_command_line(tmp_path, by):
    (tmp_path / "password").write_bytes(b"p%41:/ \xc3\xa9\r\n")
    command = [sys.executable, "-m", "ivota_tools", "cloud", "--port", "0", "--json"]
    environment = {**os.environ, "IVOTA_BROKER_PASSWORD": "p%41:/ é"}
    if by == "a file":
        command += ["--broker-password-file", str(tmp_path / "password")]
        environment["IVOTA_BROKER_PASSWORD"] = "another"
    with OddBroker() as broker:
        environment["IVOTA_BROKER"] = f"mqtt://us%40er@127.0.0.1:{broker.port}"
        with subprocess.Popen(
            [*command, "--data", str(tmp_path / "c")], env=environment, stdout=subprocess.PIPE
        ) as process:
            process.stdout.readline()
            process.terminate()
        assert process.returncode == 0 and broker.words[-1] == ("us@er", "p%41:/ é")


def test_two_devices_with_one_client_id(tmp_path, firmware):
    with Cloud(tmp_path / "c") as cloud, Client(cloud.api_url) as api:
        api.upload(firmware, "2")
        first = api.push("AB/C", "2", new=True)["device"]["id"]
        with pytest.raises(ApiError, match="AB/C signs in with the same client id, ABC"):
            api.push("A/BC", "2", new=True)
        # One may have come by its own report; then the first to get a secret has it.
        with Device(cloud.mqtt_port, "A", "BC") as device:
            device.hello("1")
        api.set_secret(first, "A" * 24)
        with pytest.raises(ApiError, match="remove that secret first"):
            api.set_secret(api.device("A/BC")["id"], "B" * 24)
        api.remove_secret(first)
        api.set_secret(api.device("A/BC")["id"], "B" * 24)
