"""Failures that have a course of their own; what servers do is test_fault_matrix.py's."""

from __future__ import annotations

import json

import pytest
from badserver import Step
from board_support import wait_noted
from wire import report_progress

pytestmark = pytest.mark.slow  # all together; each takes a second or two

FILE = "/f.bin"
FAST = {"first_s": 0.05, "most_s": 0.1, "job_tries": 2}


def failure(wire, board):
    """(code, text) of the one failure that is reported."""
    fail = wire.wait_state("fail")
    wire.settle(board)
    assert wire.of("fail") == [fail]
    assert fail.qos == 1
    assert not wire.of("done")
    progress = fail.json["report"]["progress"]
    assert fail.json == report_progress(
        "fail", "0.2", code=progress["result_code"], message=progress["result_msg"]
    )
    return progress["result_code"], progress["result_msg"]


# --- -1


def test_a_body_that_stalls(application, wire, server, firmware):
    """No block becomes durable for `deadline_s`; the next try resumes what came before."""
    data = firmware()
    steps = [Step(hold_at=n) for n in (30_000, 100, 100)]
    url = server.add(FILE, data, steps)
    board = application(retry=FAST, http={"deadline_s": 1.5})
    wire.start(board)
    wire.push("0.2", url, data)
    code, text = failure(wire, board)
    assert code == "-1" and text.startswith("time_out: no block arrived in ")
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
    wire.start(board)
    wire.push("0.2", url, data)
    wire.wait_state("done")
    assert [request.first for request in server.requests] == [5_000 * n for n in range(12)]


# --- -2, -3


def test_a_failure_sums_up_what_was_tried(application, wire, server, firmware):
    data = firmware()
    steps = [Step(status=500)] * 5 + [Step(close_after=0)] * 2 + [Step(status=404)]
    url = server.add(FILE, data, steps)
    board = application(retry={**FAST, "job_tries": 9})
    wire.start(board)
    wire.push("0.2", url, data)
    code, text = failure(wire, board)
    assert code == "-2"
    assert text == "HTTP 404 (after 5x HTTP 500, 2x the server closed the connection early)"
    assert len([line for line in board.log if line.startswith("ivota: retry ")]) == 7


# --- -5


def test_the_callback_raises(application, wire, server, firmware):
    data = firmware()
    board = application({"/app.json": json.dumps({"raises": "the MCU is gone"}).encode()})
    wire.start(board)
    wire.push("0.2", server.add(FILE, data), data)
    assert failure(wire, board) == ("-5", "ValueError the MCU is gone")
    board.wait_log("app: failure -5 ")
    assert wire.states()[-2:] == ["burning", "fail"]


def test_the_application_reports_a_failure(application, wire, server, firmware):
    data = firmware()
    report = json.dumps({"report": ["fail", -5, "flash worn out"]}).encode()
    board = application({"/app.json": report})
    wire.start(board)
    wire.push("0.2", server.add(FILE, data), data)
    assert failure(wire, board) == ("-5", "flash worn out")
    assert board.starts == 1


def test_a_failure_waits_for_the_cloud(application, broker, wire, server, proxy, firmware):
    """Nobody hears it, and then the power goes: it is reported, once, when there is a link."""
    link = proxy(broker.port)
    data = firmware()
    steps = [Step(hold_at=30_000, close_after=30_000), Step(status=404)]
    url = server.add(FILE, data, steps)
    board = application(port=link.port)
    wire.start(board)
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
    code, text = failure(wire, board)
    assert code == "-2" and text.startswith("HTTP 404")
    assert [message.state for message in wire.messages[heard:]] == [None, "fail"]
    # Acknowledged: the next start does not repeat it.
    wait_noted(board)
    board.power_cut()
    wire.start(board)
    wire.settle(board)
    assert len(wire.of("fail")) == 1


def test_bundle_that_is_none(agent, wire, server, firmware):
    """The agent takes neither random bytes nor an image for which there is no slot."""
    data = firmware()
    board = agent()
    wire.start(board)
    wire.push("0.2", server.add(FILE, data), data)
    code, text = failure(wire, board)
    assert code == "-5" and "bundle" in text
    assert not wire.of("burning")
    assert board.listdir("/firmware") == []
    assert board.resets == 0
