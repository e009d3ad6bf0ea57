"""What the command line believes of others: texts, and who listens on the cloud's port."""

from __future__ import annotations

import contextlib
import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from typer.testing import CliRunner
from waiting import WAIT_S, wait_until

from ivota_tools.api_client import Client
from ivota_tools.cli import app as cli
from ivota_tools.cli import device_views, firmware_views, terminal
from ivota_tools.cloud import Cloud
from ivota_tools.common.plain_text import plain

EVIL = "a\x1b[2J\x1b]0;owned\x07\r\n\x9b31m\u202eb"


def test_text_is_written_out():
    assert plain("aé漢 b") == "aé漢 b"
    assert plain(EVIL) == "a\\x1b[2J\\x1b]0;owned\\x07\\r\\n\\x9b31m\\u202eb"


@pytest.mark.parametrize("name", ["say", "warn", "fail", "print", "table", "json", "bar"])
def test_no_text_steers_the_terminal(name, monkeypatch, capsys):
    """Whatever prints it, and also where the terminal understands escapes."""
    for which, options in (("out", {}), ("err", {"stderr": True})):
        made = terminal.safe_console(force_terminal=True, no_color=True, width=200, **options)
        monkeypatch.setattr(terminal, which, made)
    firmware = {"id": 1, "version": EVIL, "application": "a", "hardware": None, "kind": "raw",
                "size": 1, "uploaded_at": time.time()}  # fmt: skip
    with contextlib.suppress(Exception):
        if name == "table":
            terminal.out.print(firmware_views.firmware_table([firmware]))
        elif name == "json":
            terminal.print_json(firmware)
        elif name == "print":
            terminal.out.print(EVIL.replace("\n", ""))
        elif name == "bar":
            device_views.Lines(terminal.out).say(EVIL)
        else:
            getattr(terminal, name)(EVIL)
    said = "".join(capsys.readouterr())
    assert "owned" in said
    assert "\x1b]0;" not in said and "\x1b[2J" not in said
    assert not {"\x07", "\r", "\x9b", "\u202e"} & set(said)
    if name == "fail":  # what a compiler says has lines of its own
        return
    lines = said.splitlines()
    assert len([line for line in lines if "owned" in line or "31m" in line]) == 1


class Foreign(http.server.BaseHTTPRequestHandler):
    """Anybody's server, which keeps what it is told and answers as it is told to."""

    body = b"[]"
    heard: list[str] = []

    def do_GET(self):
        self.heard.append(str(self.headers))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        pass


@pytest.fixture
def foreign():
    Foreign.heard = []
    with http.server.HTTPServer(("127.0.0.1", 0), Foreign) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_token_of_this_machine_goes_to_no_port(tmp_path, monkeypatch, foreign):
    """The cloud is down, and somebody else listens where it did."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    for name in ("IVOTA_URL", "IVOTA_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    data = tmp_path / "ivota"
    with Cloud(data) as cloud:
        with Client(cloud.api_url) as api:
            api.create_user("anna", "correct horse battery", "admin")
            assert api.devices() == []  # closed to all others, and open to its owner
    word = (data / "api.token").read_text().strip()
    done = CliRunner(env={"IVOTA_URL": f"http://127.0.0.1:{foreign}"}).invoke(cli.app, ["health"])
    assert done.exit_code == 1 and "is not an ivota cloud" in done.stderr
    assert Foreign.heard and word not in str(Foreign.heard)


@pytest.mark.parametrize("body", [b"[]", b"{}", b'"x"', b"null", b"<html>", b'[{"a": 1}]', b""])
@pytest.mark.parametrize("command", [["health"], ["devices"], ["why", "x"], ["audit"]])
def test_a_foreign_answer_is_a_sentence(foreign, monkeypatch, body, command):
    monkeypatch.setattr(Foreign, "body", body)
    done = CliRunner(env={"IVOTA_URL": f"http://127.0.0.1:{foreign}"}).invoke(cli.app, command)
    assert done.exit_code == 1 and "is not an ivota cloud" in done.stderr


def test_a_signal_ends_the_cloud_whatever_hangs(tmp_path):
    code = """
import sys, threading
from ivota_tools.cloud.mqtt.report_worker import Intake
Intake.stop = lambda self: threading.Event().wait()
from ivota_tools.cli import cloud
cloud.STOP_S = 1.0
from ivota_tools.__main__ import main
main()
"""
    command = [sys.executable, "-c", code, "cloud", "--json", "--port", "0", "--mqtt-port", "0"]
    process = subprocess.Popen(
        [*command, "--data", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    line = process.stdout.readline()
    assert line, process.stderr.read()
    said = json.loads(line)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert b"forcing it to exit" in errors
    # The broker goes with it, however it went.
    wait_until(lambda: not accepts(said["mqtt_port"]), "the end of the broker")


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=WAIT_S).close()
    except OSError:
        return False
    return True
