"""Each result code on the wire, once, and what is left on flash."""

from __future__ import annotations

import json
import re

import pytest
from badserver import Step
from test_messages import settle, start
from wire import report_progress

pytestmark = pytest.mark.slow  # all together; each takes a second or two

FILE = "/f.bin"
FAST = {"first_s": 0.05, "most_s": 0.1, "job_tries": 2}


def failure(wire):
    """(code, text) of the one failure that is reported."""
    fail = wire.wait_state("fail", timeout_s=30)
    settle(wire, 0.5)
    assert wire.of("fail") == [fail]
    assert fail.qos == 1
    assert not wire.of("done")
    progress = fail.json["report"]["progress"]
    assert fail.json == report_progress(
        "fail", "0.2", code=progress["result_code"], message=progress["result_msg"]
    )
    return progress["result_code"], progress["result_msg"]


# --- -1


def test_a_server_that_is_not_there(application, wire, proxy, firmware):
    link = proxy(1)
    link.refuse()
    board = application(retry=FAST)
    start(board, wire)
    wire.push("0.2", f"http://127.0.0.1:{link.port}/f.bin", firmware())
    code, text = failure(wire)
    assert code == "-1" and text.startswith("time_out: ")
    board.wait_log(f"app: failure -1 {re.escape(text)}")


def test_a_server_that_says_nothing(application, wire, proxy, server, firmware):
    link = proxy(server.port)
    link.stall()
    data = firmware()
    server.add(FILE, data)
    board = application(retry=FAST, http={"timeout_s": 0.5}, report_interval_s=0.3)
    start(board, wire)
    wire.push("0.2", server.url(FILE, link.port), data)
    code, text = failure(wire)
    assert code == "-1" and text.startswith("time_out: ")


def test_a_body_that_stalls(application, wire, server, firmware):
    """Without a durable block for `deadline_s`; what came before stays and is gone on from."""
    data = firmware()
    steps = [Step(hold_at=n) for n in (30_000, 100, 100)]
    url = server.add(FILE, data, steps)
    board = application(retry=FAST, http={"deadline_s": 0.7})
    start(board, wire)
    wire.push("0.2", url, data)
    code, text = failure(wire)
    assert code == "-1" and text.startswith("time_out: no block in ")
    server.release()
    wire.push("0.2", url, data)
    wire.wait_state("done")
    assert [request.range for request in server.requests] == [
        "bytes=0-",
        "bytes=30000-",
        "bytes=30100-",
        "bytes=30200-",
    ]
    board.stop()
    assert board.read("/firmware/0.2.bin") == data


def test_progress_refills_the_budget(application, wire, server, firmware):
    """Eleven cuts with two tries allowed: each brought at least a block."""
    data = firmware()
    url = server.add(FILE, data, [Step(close_after=5_000)] * 11)
    board = application(retry=FAST)
    start(board, wire)
    wire.push("0.2", url, data)
    wire.wait_state("done")
    assert [request.first for request in server.requests] == [5_000 * n for n in range(12)]


@pytest.mark.parametrize(
    "step",
    [
        Step(status=500),
        Step(status=429),
        Step(status=400),
        Step(headers={"Transfer-Encoding": "chunked", "Content-Length": None}),
        Step(headers={"Content-Encoding": "gzip"}),
        Step(ignore_range=True, headers={"Content-Type": "text/html; charset=utf-8"}),
        Step(headers={"Content-Range": None}),
        Step(headers={"Content-Range": "bytes many"}),
        Step(headers={"Content-Length": "seven"}),
        Step(headers={"X-Long": "x" * 5000}),
        Step(headers={f"X-{n}": "x" for n in range(100)}),
        Step(close_after=0),
    ],
    ids=[
        "500",
        "429",
        "400",
        "chunked",
        "gzip",
        "portal",
        "no range",
        "odd range",
        "odd length",
        "long line",
        "many lines",
        "empty",
    ],
)
def test_answers_that_are_not_taken(application, wire, server, firmware, step):
    """None of their bytes reaches the flash; it is tried again, and at last a time-out."""
    data = firmware(20_000)
    url = server.add(FILE, data, [step] * 3)
    board = application(retry=FAST)
    start(board, wire)
    wire.push("0.2", url, data)
    code, text = failure(wire)
    assert code == "-1" and text.startswith("time_out: ")
    assert board.read("/firmware/0.2.bin") == b""
    assert [request.range for request in server.requests] == ["bytes=0-"] * 3
    wire.push("0.2", url, data)
    wire.wait_state("done")


# --- -2, -3


@pytest.mark.parametrize("status", [404, 410])
def test_no_such_file(application, wire, server, firmware, status):
    data = firmware()
    url = server.add(FILE, data, [Step(status=status)] * 5)
    board = application(retry=FAST)
    start(board, wire)
    wire.push("0.2", url, data)
    assert failure(wire) == ("-2", f"HTTP {status}")
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [401, 403])
def test_an_expired_url_asks_for_a_fresh_one(application, wire, server, firmware, status):
    data = firmware()
    old = server.add("/old.bin", data, [Step(close_after=30_000), *[Step(status=status)] * 5])
    board = application()
    start(board, wire)
    wire.push("0.2", old, data)
    heard = len(wire.messages)
    wire.wait_version("0.1", after=heard)
    wire.push("0.2", server.add("/new.bin", data), data)
    wire.wait_state("done")
    assert not wire.of("fail")
    assert [(request.path, request.range) for request in server.requests] == [
        ("/old.bin", "bytes=0-"),
        ("/old.bin", "bytes=30000-"),
        ("/new.bin", "bytes=30000-"),
    ]


def test_a_fresh_url_that_has_expired_too(application, wire, server, firmware):
    data = firmware()
    url = server.add(FILE, data, [Step(status=403)] * 5)
    board = application()
    start(board, wire)
    heard = len(wire.messages)
    wire.push("0.2", url, data)
    wire.wait_version("0.1", after=heard)
    wire.push("0.2", url, data)
    code, text = failure(wire)
    assert code == "-3" and text.startswith("HTTP 403")
    assert len(server.requests) == 2


# --- -5


def test_no_room(application, wire, server, firmware):
    data = firmware()
    url = server.add(FILE, data)
    board = application()
    start(board, wire)
    wire.push("0.2", url, data, file_size=3_000_000)
    code, text = failure(wire)
    assert code == "-5" and text.startswith("no room")
    assert server.requests == []
    assert board.listdir("/firmware") == []


def test_the_callback_raises(application, wire, server, firmware):
    data = firmware()
    board = application({"/app.json": json.dumps({"raises": "the MCU is gone"}).encode()})
    start(board, wire)
    wire.push("0.2", server.add(FILE, data), data)
    assert failure(wire) == ("-5", "ValueError the MCU is gone")
    board.wait_log("app: failure -5 ")
    assert wire.states()[-2:] == ["burning", "fail"]


def test_the_application_reports_a_failure(application, wire, server, firmware):
    data = firmware()
    report = json.dumps({"report": ["fail", -5, "flash worn out"]}).encode()
    board = application({"/app.json": report})
    start(board, wire)
    wire.push("0.2", server.add(FILE, data), data)
    assert failure(wire) == ("-5", "flash worn out")
    assert board.starts == 1


def test_a_failure_waits_for_the_cloud(application, broker, wire, server, proxy, firmware):
    """Nobody hears it, and then the power goes: it is reported, once, when there is a link."""
    link = proxy(broker.port)
    data = firmware()
    steps = [Step(hold_at=30_000, close_after=30_000), Step(status=404)]
    url = server.add(FILE, data, steps)
    board = application(port=link.port)
    start(board, wire)
    wire.push("0.2", url, data)
    server.wait_sent(FILE, 30_000)
    link.refuse()
    link.cut_now()
    server.release()
    board.wait_log("app: failure -2 HTTP 404")
    board.power_cut()
    board.power_on()
    board.wait_log("link_lost", start=len(board.log) - 1)
    assert not wire.of("fail")
    heard = len(wire.messages)
    link.accept()
    code, text = failure(wire)
    assert code == "-2" and text.startswith("HTTP 404")
    assert [message.state for message in wire.messages[heard:]] == [None, "fail"]
    # Acknowledged: the next start does not repeat it.
    board.power_cut()
    start(board, wire)
    settle(wire)
    assert len(wire.of("fail")) == 1


def test_bundle_that_is_none(agent, wire, server, firmware):
    """The agent takes neither random bytes nor an image for which there is no slot."""
    data = firmware()
    board = agent()
    start(board, wire)
    wire.push("0.2", server.add(FILE, data), data)
    code, text = failure(wire)
    assert code == "-5" and "bundle" in text
    assert not wire.of("burning")
    assert board.listdir("/firmware") == []
    assert board.resets == 0
