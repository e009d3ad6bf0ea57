"""`ivota doctor`: what it finds, and its exit code."""

from __future__ import annotations

import json
import shutil
import socket
from collections import namedtuple

import pytest
from typer.testing import CliRunner

from ivota_tools.cli import app, doctor
from ivota_tools.cloud import Cloud


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run it with a data directory of its own; return the exit code and what it found."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(doctor, "PORTS", {})

    def invoke(**environment):
        done = CliRunner(env=environment).invoke(app.app, ["doctor", "--json"])
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
    assert "--port" in found[f"port {port}"]["advice"] and found["cloud"]["state"] == "note"
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
    assert code == 0 and found["broker"]["state"] == "note"
    assert "install mosquitto" in found["broker"]["advice"]
