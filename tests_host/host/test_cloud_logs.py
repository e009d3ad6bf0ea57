"""The log of `ivota cloud`: a line for each event, for people and for programs."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys

import httpx
import pytest
from cloud_support import Device
from rich.console import Console
from waiting import WAIT_S

from ivota_tools.common import log_output
from ivota_tools.common.repeated_log_lines import Bounded

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def limited():
    """A logger, its filter's clock, what passed, and the filter."""
    clock, said = Clock(), []
    logger, handler = logging.getLogger("test.limited"), logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    bounded = Bounded(clock)
    handler.addFilter(bounded)
    logger.addHandler(handler)
    yield logger, clock, said, bounded
    logger.removeHandler(handler)


def test_a_repeated_line_is_counted(limited):
    logger, clock, said, bounded = limited

    def fail(times):
        for _ in range(times):
            logger.error("no broker")

    fail(500)
    assert said == ["no broker"] and bounded.counted() == []
    clock.now = 61
    # Nothing more comes from there: the count is told all the same, and once.
    assert [each.getMessage() for each in bounded.counted()] == [
        "no broker (and 498 more like this)"
    ]
    assert bounded.counted() == []
    fail(3)
    assert len(said) == 1
    assert [each.getMessage() for each in bounded.counted(all_of_them=True)] == [
        "no broker (and 2 more like this)"
    ]


def test_lines_of_one_kind_are_few(limited):
    logger, clock, said, _ = limited
    for number in range(120_000):
        logger.error("no more descriptors: %d", number)
    logger.error("another kind, of \x1b[2J")
    assert len(said) == 11 and said[-1] == "another kind, of \\x1b[2J"
    clock.now = 61
    for number in range(2):
        logger.error("no descriptor: %d", number)
    assert len(said) == 13


def test_an_event_is_a_line_whatever_it_contains(capsys):
    before = logging.root.handlers[:]
    try:
        for name in log_output.FORMATS:
            output = log_output.LogOutput(Console(stderr=True), name)
            log = logging.getLogger("ivota.test")
            try:
                raise ValueError("of two\nlines \x1b[31m")
            except ValueError:
                log.exception("a long line %s\nand more", "x" * 500)
            output.tell(all_of_them=True)
        text, line = capsys.readouterr().err.splitlines()
    finally:
        logging.basicConfig(handlers=before, force=True)
    assert re.fullmatch(rf"{TIME} ERROR a long line x{{500}}\\nand more\\nTraceback .*", text)
    assert "\x1b" not in text + line
    found = json.loads(line)
    assert re.fullmatch(TIME, found["time"]) and found["level"] == "error"
    assert found["logger"] == "ivota.test" and found["message"].endswith("x\nand more")
    assert found["traceback"].startswith("Traceback ")


@pytest.mark.parametrize("format_name", log_output.FORMATS)
def test_the_log_of_a_process(tmp_path, format_name):
    """Each line has its form; the access log hides what must stay secret."""
    command = [
        *(sys.executable, "-m", "ivota_tools", "cloud", "--json", "--port", "0"),
        *("--mqtt-port", "0", "--data", str(tmp_path), "--log-format", format_name),
        "--access-log",
    ]
    with open(tmp_path / "log", "w+") as file:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=file, env={**os.environ, "COLUMNS": "40"}
        )
        said = json.loads(process.stdout.readline())
        httpx.get(said["set_up_url"])
        httpx.get(f"{said['api_url']}/files/1?sign=SIGNATURE&expires=1")
        httpx.get(f"{said['api_url']}/api/v1/health")
        httpx.get(f"{said['api_url']}/%0Aforged%1b[2J{'x' * 500}")
        with Device(said["mqtt_port"], "P", "d") as device:
            device.hello("0.1")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=WAIT_S)
        file.seek(0)
        text = file.read()
    lines = text.splitlines()
    assert len(lines) >= 5, text
    key = said["set_up_url"].rpartition("/")[2]
    assert key not in text and "SIGNATURE" not in text and "\x1b" not in text
    if format_name == "text":
        assert all(re.match(rf"{TIME} (INFO|WARNING|ERROR) \S", each) for each in lines), text
        assert re.search(r" GET /api/v1/health 200, \d+ bytes in .* by local$", text, re.M)
        assert r" GET /\nforged\x1b[2Jx" in text
    else:
        found = [json.loads(each) for each in lines]
        assert all(re.fullmatch(TIME, each["time"]) for each in found)
        requests = {each["path"]: each for each in found if each["logger"] == "ivota.access"}
        health = requests["/api/v1/health"]
        assert (health["status"], health["who"], health["client"]) == (200, "local", "127.0.0.1")
        assert "/set-up/…" in requests and "/files/1" in requests
        assert any(path.startswith("/\nforged") and len(path) == 200 for path in requests)


def test_a_wrong_format_is_refused():
    done = subprocess.run(
        [sys.executable, "-m", "ivota_tools", "cloud", "--log-format", "xml"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "--log-format must be text or json" in done.stderr
