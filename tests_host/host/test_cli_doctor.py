"""`ivota doctor`: what it finds, and its exit code."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections import namedtuple

import pytest
from typer.testing import CliRunner
from waiting import WAIT_S, wait_until

from ivota_tools.cli import app, doctor
from ivota_tools.cloud import Certificate, Cloud
from ivota_tools.cloud.store.backup import back_up
from ivota_tools.common.project_files import CHECKOUT
from ivota_workshop.bench.holds.devices import self_signed


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run it with a data directory of its own; return the exit code and what it found."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(doctor, "PORTS", {})
    monkeypatch.setattr(doctor, "READY_S", WAIT_S)  # a busy machine answers late

    def invoke(*words, **environment):
        done = CliRunner(env=environment).invoke(app.app, ["doctor", "--json", *words])
        return done.exit_code, {each["what"]: each for each in json.loads(done.stdout)}

    return invoke


def test_a_running_cloud_is_asked(run, tmp_path):
    with Cloud(tmp_path / "cloud") as cloud:
        code, found = run(IVOTA_URL=cloud.api_url)
        assert code == 0 and found["cloud"]["state"] == "ok"
        cloud._fail("the broker is gone")
        code, found = run(IVOTA_URL=cloud.api_url)
    assert code == 1 and "the broker is gone" in found["cloud"]["found"]


def test_a_taken_port_and_a_full_disk_are_problems(run, tmp_path, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(doctor, "PORTS", {port: "--port"})
        code, found = run(IVOTA_URL="http://127.0.0.1:9")
    assert code == 1 and found[f"port {port}"]["state"] == "problem"
    assert "--port" in found[f"port {port}"]["advice"] and found["cloud"]["state"] == "problem"
    monkeypatch.setattr(doctor, "PORTS", {})
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 1))
    code, found = run(IVOTA_URL="http://127.0.0.1:9")
    assert code == 1 and found["data directory"]["state"] == "problem"
    assert list(tmp_path.iterdir()) == []  # it has made nothing


def test_without_a_broker_it_says_what_to_install(run, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "SERVERS_PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code, found = run(IVOTA_URL="http://127.0.0.1:9")
    assert found["broker"]["state"] == "note"
    assert "install mosquitto" in found["broker"]["advice"]


def test_a_server_is_broken_four_ways(run, tmp_path, monkeypatch):
    """With its configuration file; each way has words in docs/operate.md."""
    chain, key = self_signed(tmp_path)
    data, secret = tmp_path / "data", tmp_path / "token"
    secret.write_text("ivota_0123456789abcdefghijklmnopqrstuv")
    file = tmp_path / "ivota.toml"

    def states(cloud, **changes):
        settings = {"data": str(data), "port": cloud.http_port, "mqtt_port": cloud.mqtt_port,
                    "tls_cert": str(chain), "tls_key": str(key), "token_file": str(secret),
                    **changes}  # fmt: skip
        file.write_text("".join(f"{name} = {value!r}\n" for name, value in settings.items()))
        # Whoever sits at the terminal has a token of their own.
        code, found = run("--config", str(file), IVOTA_TOKEN="another")
        assert (code == 1) is any(each["state"] == "problem" for each in found.values())
        return found

    with Cloud(data, certificate=Certificate(chain, key), token=secret.read_text()) as cloud:
        found = states(cloud)
        good = ("configuration", "data directory", "cloud")
        assert [found[what]["state"] for what in good] == ["ok"] * 3, found
        assert (found["backup"]["state"], found["backup"]["found"]) == ("note", "never")
        assert found["certificate"]["state"] == "note"
        back_up(data, None, tmp_path / "backup")
        assert states(cloud)["backup"]["state"] == "ok"
        usage = namedtuple("usage", "total used free")
        with monkeypatch.context() as full:
            full.setattr(shutil, "disk_usage", lambda _: usage(10, 10, 0))
            assert states(cloud)["data directory"]["state"] == "problem"
        # When the certificate has expired, the cloud still answers this machine.
        now = time.time()
        with monkeypatch.context() as later:
            later.setattr(doctor.time, "time", lambda: now + 400 * 86400)
            found = states(cloud)
        assert "has expired" in found["certificate"]["found"] and found["cloud"]["state"] == "ok"
        assert "systemctl reload" in found["certificate"]["advice"]
        cloud._broker.process.stop()
        wait_until(lambda: "broker" in states(cloud)["cloud"]["found"], "its words")
        assert "When something breaks" in states(cloud)["cloud"]["advice"]
    found = states(cloud)
    assert found["cloud"]["state"] == "problem" and "journalctl" in found["cloud"]["advice"]
    assert found[f"port {cloud.mqtt_port}"]["state"] == "ok"
    assert "did you mean port?" in states(cloud, prot=1)["configuration"]["found"]
    assert "check-config" in states(cloud, port="x")["configuration"]["advice"]
    assert "## When something breaks" in (CHECKOUT / "docs" / "operate.md").read_text()
