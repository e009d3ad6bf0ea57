"""What reference clients get wrong (docs/protocol.md), a row at a time: what a board does instead.

32-bit MicroPython on a littlefs image, a real broker, a real HTTP server that misbehaves as told.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from typing import Any

import pytest
from badserver import BadServer, Step
from board_support import seen
from waiting import wait_until
from wire import report_progress

from ivota_tools.firmware.release import pack
from ivota_tools.sim import Board

FILE = "/f.bin"
PATH = "/firmware/0.2.bin"
CHECKPOINT = "/firmware/0.2.json"


def checkpoint(data: bytes, position: int, version: str = "0.2", **fields: Any) -> bytes:
    md5 = hashlib.md5(data).hexdigest()
    return json.dumps(
        {
            "version": version,
            "md5sum": md5,
            "file_size": len(data),
            "position": position,
            **fields,
        }
    ).encode()


def pushed(board: Board, wire, url: str, data: bytes) -> Board:
    """The board, switched on, after a push of 0.2."""
    wire.start(board)
    wire.push("0.2", url, data)
    return board


def assert_done(board: Board, wire, data: bytes, version: str = "0.2") -> None:
    """The cloud hears `done`; the flash, read from outside, has these bytes and no checkpoint."""
    assert wire.wait_state("done").json == report_progress("done", version)
    assert not wire.of("fail")
    wire.wait_version(version)
    board.stop()
    assert board.read(f"/firmware/{version}.bin") == data
    assert board.listdir("/firmware") == [f"{version}.bin"]


def assert_failed(board: Board, wire, code: str, message: str) -> None:
    """The cloud hears this, once, and nothing of the firmware is left on flash."""
    said = wire.wait_state("fail").json
    text = said["report"]["progress"]["result_msg"]
    assert said == report_progress("fail", "0.2", code=code, message=text)
    assert message in text
    wire.settle(board)
    assert len(wire.of("fail")) == 1
    assert not wire.of("done") and not wire.of("burning")
    assert "0.2" not in [each.json["report"]["version"] for each in wire.of("version")]
    board.stop()
    assert board.listdir("/firmware") == []


def assert_never_past_the_end(server: BadServer, size: int) -> None:
    for request in server.requests:
        assert request.first < size, request
        assert request.last is None or request.last < size, request


# --- killed between writing data and writing the checkpoint


def test_killed_before_the_checkpoint_was_written(application, wire, server, firmware):
    data = firmware()
    url = server.add(FILE, data, [Step(hold_at=30_000)])
    board = application()
    wire.start(board)
    wire.push("0.2", url, data)
    server.wait_sent(FILE, 30_000)
    wait_until(lambda: len(seen(board, PATH)) > 20_000, "most of it on flash")
    board.power_cut()

    length = len(board.read(PATH))
    assert json.loads(board.read(CHECKPOINT))["position"] < length <= 30_000
    assert board.read(PATH) == data[:length]

    wire.start(board)
    wire.push("0.2", url, data)
    assert_done(board, wire, data)
    assert [request.range for request in server.requests] == ["bytes=0-", f"bytes={length}-"]
    assert server.requests[1].sent == len(data) - length


def test_bytes_behind_the_checkpoint_are_gone_on_from_not_appended_to(
    application, wire, server, firmware
):
    """An orderly stop at 10,000, then a power cut that left 21,000."""
    data = firmware()
    url = server.add(FILE, data)
    board = pushed(
        application({PATH: data[:21_000], CHECKPOINT: checkpoint(data, 10_000)}), wire, url, data
    )
    assert_done(board, wire, data)
    assert [request.range for request in server.requests] == ["bytes=21000-"]


def test_wrong_bytes_behind_the_checkpoint_are_found_on_flash(application, wire, server, firmware):
    """The digest is of the flash: a file that a streamed MD5 would pass is not `done`."""
    data = firmware()
    url = server.add(FILE, data)
    rotten = data[:15_000] + b"rotten" + data[15_006:21_000]
    board = pushed(
        application({PATH: rotten, CHECKPOINT: checkpoint(data, 15_000)}), wire, url, data
    )
    assert_failed(board, wire, "-4", "MD5")


# --- the checkpoint says complete


def test_a_complete_file_is_verified_and_not_fetched(application, wire, server, firmware):
    data = firmware()
    url = server.add(FILE, data)
    board = pushed(
        application({PATH: data, CHECKPOINT: checkpoint(data, len(data))}), wire, url, data
    )
    assert_done(board, wire, data)
    assert server.requests == []
    assert [each.percent for each in wire.of("downloading")] == [100]


def test_a_complete_file_with_a_wrong_byte_is_fetched_again(application, wire, server, firmware):
    data = firmware()
    url = server.add(FILE, data)
    rotten = data[:-1] + bytes([data[-1] ^ 1])
    board = pushed(
        application({PATH: rotten, CHECKPOINT: checkpoint(data, len(data))}), wire, url, data
    )
    assert_done(board, wire, data)
    assert [request.range for request in server.requests] == ["bytes=0-"]


# --- resume, and the server ignores Range


def test_a_server_that_ignores_range(application, wire, server, firmware):
    data = firmware()
    url = server.add(FILE, data, [Step(ignore_range=True)])
    board = pushed(
        application({PATH: data[:25_000], CHECKPOINT: checkpoint(data, 25_000)}), wire, url, data
    )
    assert_done(board, wire, data)
    assert [(each.range, each.status) for each in server.requests] == [("bytes=25000-", 200)]


def test_a_server_that_ignores_range_at_each_of_three_cuts(application, wire, server, firmware):
    data = firmware()
    steps = [Step(ignore_range=True, close_after=n) for n in (11_000, 30_001, 59_999)]
    url = server.add(FILE, data, [*steps, Step(ignore_range=True)])
    board = pushed(application(), wire, url, data)
    assert_done(board, wire, data)
    assert [request.status for request in server.requests] == [200] * 4


@pytest.mark.slow
def test_a_slow_server_that_ignores_range(application, wire, server, firmware):
    """What is skipped takes longer than `deadline_s`: it moves on, so nothing is given up."""
    data = firmware()
    server.rate = 20_000
    url = server.add(FILE, data, [Step(ignore_range=True)] * 9)
    board = application(
        {PATH: data[:50_000], CHECKPOINT: checkpoint(data, 50_000)}, http={"deadline_s": 1}
    )
    wire.start(board)
    wire.push("0.2", url, data)
    assert_done(board, wire, data)
    assert len(server.requests) == 1


def test_a_server_that_resumes_elsewhere_than_asked(application, wire, server, firmware):
    data = firmware()
    url = server.add(FILE, data, [Step(start=30_000), Step(start=25_001)])
    board = pushed(
        application({PATH: data[:25_000], CHECKPOINT: checkpoint(data, 25_000)}), wire, url, data
    )
    assert_done(board, wire, data)
    assert [request.range for request in server.requests] == ["bytes=25000-"] * 3


# --- the same version with new content


@pytest.mark.parametrize("size", [60_000, 50_000, 20_000])
def test_same_version_new_content(application, wire, server, firmware, size):
    """Of the same size, shorter, and shorter than what is on flash already."""
    old, new = firmware(seed=1), firmware(size, seed=2)
    url = server.add(FILE, new)
    board = application({PATH: old[:25_000], CHECKPOINT: checkpoint(old, 25_000)})
    wire.start(board)
    wire.push("0.2", url, new)
    assert_done(board, wire, new)
    assert [request.range for request in server.requests] == ["bytes=0-"]
    assert [each.percent for each in wire.of("downloading")] == [0, 100]


def test_the_content_changes_on_the_server_below_the_same_push(
    application, wire, server, firmware
):
    """If-Range tells the server, its new ETag tells us; old and new are never mixed."""
    old, new = firmware(seed=1), firmware(seed=2)
    etag = {"ETag": '"new"'}
    url = server.add(FILE, new, [Step(ignore_range=True, headers=etag), Step(headers=etag)])
    board = application(
        {PATH: old[:25_000], CHECKPOINT: checkpoint(new, 25_000, etag='"old"')},
    )
    wire.start(board)
    wire.push("0.2", url, new)
    assert_done(board, wire, new)
    assert server.requests[0].headers["if-range"] == '"old"'
    assert [request.range for request in server.requests] == ["bytes=25000-", "bytes=0-"]
    assert "if-range" not in server.requests[1].headers


# --- a position beyond the file's size; 416


def test_a_position_beyond_the_file(application, wire, server, firmware):
    data = firmware()
    url = server.add(FILE, data)
    board = application(
        {PATH: data + b"surplus", CHECKPOINT: checkpoint(data, len(data) + 7)},
    )
    wire.start(board)
    wire.push("0.2", url, data)
    assert_done(board, wire, data)
    assert [request.range for request in server.requests] == ["bytes=0-"]


def test_a_checkpoint_that_says_more_than_the_file_has(application, wire, server, firmware):
    data = firmware()
    url = server.add(FILE, data)
    board = pushed(
        application({PATH: data[:9_000], CHECKPOINT: checkpoint(data, 99_000)}), wire, url, data
    )
    assert_done(board, wire, data)
    assert [request.range for request in server.requests] == ["bytes=9000-"]


def test_416_starts_afresh(application, wire, server, firmware):
    data = firmware()
    url = server.add(FILE, data, [Step(status=416)])
    board = pushed(
        application({PATH: data[:25_000], CHECKPOINT: checkpoint(data, 25_000)}), wire, url, data
    )
    assert_done(board, wire, data)
    assert [request.range for request in server.requests] == ["bytes=25000-", "bytes=0-"]


# --- 5xx


@pytest.mark.slow
def test_5xx_is_retried_with_back_off(application, wire, server, firmware):
    data = firmware()
    url = server.add(FILE, data, [Step(status=status) for status in (500, 502, 503, 504)])
    board = pushed(application(retry={"first_s": 0.2, "most_s": 10}), wire, url, data)
    assert_done(board, wire, data)
    assert [request.status for request in server.requests] == [500, 502, 503, 504, 206]
    assert {request.range for request in server.requests} == {"bytes=0-"}
    times = [request.at for request in server.requests]
    waits = [after - before for before, after in zip(times, times[1:], strict=False)]
    said = [int(n) for n in re.findall(r'retry .*"again_ms": (\d+)', "\n".join(board.log))]
    # Each wait is drawn from the upper half of 0.2, 0.4, 0.8, 1.6 s; what is said is what is left.
    for wait, again_ms, most in zip(waits, said, (0.2, 0.4, 0.8, 1.6), strict=True):
        assert wait >= most / 2 and again_ms <= 1000 * most, (waits, said)


def test_5xx_in_the_middle_keeps_what_is_there(application, wire, server, firmware):
    data = firmware()
    url = server.add(FILE, data, [Step(close_after=33_333), Step(status=503)])
    board = pushed(application(), wire, url, data)
    assert_done(board, wire, data)
    assert [request.range for request in server.requests] == [
        "bytes=0-",
        "bytes=33333-",
        "bytes=33333-",
    ]


def test_5xx_for_ever_is_a_time_out(application, wire, server, firmware):
    data = firmware()
    url = server.add(FILE, data, [Step(status=503)] * 50)
    board = application(retry={"first_s": 0.05, "most_s": 0.1, "job_tries": 3})
    wire.start(board)
    wire.push("0.2", url, data)
    said = wire.wait_state("fail").json["report"]["progress"]
    assert said["result_code"] == "-1"
    assert said["result_msg"].startswith("time_out: HTTP 503")
    wire.settle(board)
    assert len(wire.of("fail")) == 1
    assert len(server.requests) == 4  # the first, and three more tries
    board.stop()
    assert board.listdir("/firmware") == []


# --- a file longer than announced


@pytest.mark.parametrize("status", [206, 200])
def test_a_longer_file_is_refused_at_the_header(application, wire, server, firmware, status):
    data = firmware()
    longer = data + firmware(500_000, seed=9)
    url = server.add(FILE, longer, [Step(ignore_range=status == 200)])
    board = application()
    wire.start(board)
    programs = board.flash_counts()["program_bytes"]
    wire.push("0.2", url, data)
    said = wire.wait_state("fail").json["report"]["progress"]
    assert said["result_msg"] == "the server's file has 560000 bytes, but the push says 60000"
    assert_failed(board, wire, "-4", "but the push says")
    assert [request.status for request in server.requests] == [status]
    assert server.requests[0].sent < 200_000  # what the kernels took before the board hung up
    assert board.flash_counts()["program_bytes"] - programs < 8192, "the body went to flash"


def test_a_longer_file_without_a_length(application, wire, server, firmware):
    """Nothing announces it: what is read ends at the pushed size all the same."""
    data = firmware()
    longer = data + firmware(100_000, seed=9)
    url = server.add(FILE, longer, [Step(ignore_range=True, headers={"Content-Length": None})])
    board = pushed(application(), wire, url, data)
    assert_done(board, wire, data)


def test_a_shorter_file_is_refused_at_the_header(application, wire, server, firmware):
    data = firmware()
    url = server.add(FILE, data[:50_000])
    board = pushed(application(), wire, url, data)
    assert_failed(board, wire, "-4", "the server's file has 50000 bytes, but the push says 60000")
    assert len(server.requests) == 1


# --- MD5 mismatch


@pytest.mark.slow
def test_md5_mismatch(application, wire, server, firmware):
    """One `fail -4`, deleted; the version is said again; each new try waits longer."""
    data = firmware()
    wrong = Step(body=data[:-1] + b"?")
    url = server.add(FILE, data, [wrong, wrong])
    board = application(retry={"first_s": 0.5}, report_interval_s=0.5)
    wire.start(board)
    wire.push("0.2", url, data)
    fail = wire.wait_state("fail")
    assert fail.json["report"]["progress"]["result_code"] == "-4"
    assert board.listdir("/firmware") == []
    heard = wire.messages.index(fail)
    wire.wait_version("0.1", after=heard)
    assert len(server.requests) == 1, "tried again without having been asked to"

    for failures in (1, 2):
        start = len(wire.messages)
        pushed = time.monotonic()
        wire.push("0.2", url, data)
        wire.wait(lambda message: message.state in ("done", "fail"), "its end", after=start)
        # 0.5 s doubled for each failure so far; a slow machine may take longer.
        assert server.requests[-1].at - pushed >= 0.5 * 2**failures
    assert wire.wait_state("done").json == report_progress("done", "0.2")
    assert [each.json["report"]["progress"]["result_code"] for each in wire.of("fail")] == [
        "-4",
        "-4",
    ]
    assert [request.range for request in server.requests] == ["bytes=0-"] * 3
    board.stop()
    assert board.read(PATH) == data


# --- a second push during a download


def test_second_push_of_the_same_firmware_brings_a_new_url(application, wire, server, firmware):
    """What was started goes on; the next request takes the new URL and fetches only the rest."""
    data = firmware()
    old = server.add("/old.bin", data, [Step(hold_at=30_000, close_after=30_000)])
    new = server.add("/new.bin", data)
    board = application()
    wire.start(board)
    wire.push("0.2", old, data)
    server.wait_sent("/old.bin", 30_000)
    wire.push("0.2", new, data)
    wire.wait_taken(board)
    assert len(server.requests) == 1, "what was under way was given up"
    server.release()
    assert_done(board, wire, data)
    assert [(each.path, each.range) for each in server.requests] == [
        ("/old.bin", "bytes=0-"),
        ("/new.bin", "bytes=30000-"),
    ]


def test_second_push_of_another_firmware_takes_its_place(application, wire, server, firmware):
    old, new = firmware(seed=2), firmware(50_000, seed=3)
    url = server.add("/old.bin", old, [Step(hold_at=30_000)])
    board = application()
    wire.start(board)
    wire.push("0.2", url, old)
    server.wait_sent("/old.bin", 30_000)
    wire.push("0.3", server.add("/new.bin", new), new)
    assert_done(board, wire, new, "0.3")
    assert [(each.path, each.range) for each in server.requests] == [
        ("/old.bin", "bytes=0-"),
        ("/new.bin", "bytes=0-"),
    ]
    assert not wire.of("fail")


def test_pushes_back_and_forth_end_with_the_last(application, wire, server, firmware):
    first, second = firmware(seed=2), firmware(seed=3)
    one = server.add("/one.bin", first, [Step(hold_at=30_000)])
    two = server.add("/two.bin", second, [Step(hold_at=20_000)])
    board = application()
    wire.start(board)
    wire.push("0.2", one, first)
    server.wait_sent("/one.bin", 30_000)
    wire.push("0.3", two, second)
    server.wait_sent("/two.bin", 20_000)
    wire.push("0.2", one, first)
    assert_done(board, wire, first)
    assert not [each for each in wire.of("burning") if each.json["report"]["version"] == "0.3"]


# --- a second update in one run


def test_second_update_in_one_run_starts_clean(application, wire, server, firmware):
    first, second = firmware(seed=2), firmware(40_000, seed=3)
    board = application()
    wire.start(board)
    wire.push("0.2", server.add("/one.bin", first), first)
    wire.wait_version("0.2")
    start = len(wire.messages)
    wire.push("0.3", server.add("/two.bin", second), second)
    wire.wait_version("0.3")
    assert board.starts == 1
    said = wire.messages[start:]
    percents = [message.percent for message in said if message.state == "downloading"]
    assert percents[0] == 0 and percents[-1] == 100 and percents == sorted(percents)
    assert [request.range for request in server.requests] == ["bytes=0-"] * 2
    board.stop()
    assert board.read("/firmware/0.3.bin") == second


# --- append-mode open and then seek


@pytest.mark.parametrize("length", [1, 4_095, 4_096, 4_097, 8_188, 12_345, 59_999])
def test_resume_puts_bytes_where_they_belong(application, wire, server, firmware, length):
    data = firmware()
    url = server.add(FILE, data)
    board = pushed(
        application({PATH: data[:length], CHECKPOINT: checkpoint(data, length)}), wire, url, data
    )
    assert_done(board, wire, data)
    assert [request.range for request in server.requests] == [f"bytes={length}-"]


# --- range one past the end


def test_no_range_is_past_the_end(application, wire, server, firmware):
    """Cuts at every kind of place, the last byte's included; nothing left: nothing asked."""
    data = firmware()
    cuts = [0, 4_096, 1, 30_000, len(data) - 34_097 - 1, 0, 1]
    url = server.add(FILE, data, [Step(close_after=n) for n in cuts])
    board = pushed(application(), wire, url, data)
    assert_done(board, wire, data)
    assert_never_past_the_end(server, len(data))
    assert sum(request.sent for request in server.requests) == len(data)
    assert server.requests[-1].range == f"bytes={len(data) - 1}-"


# --- after `done`, and `burning`


def test_burning_done_and_the_new_version(application, wire, server, firmware):
    """What an application burns itself: it says when it has, the new version follows."""
    data = firmware()
    board = application({"/app.json": b'{"burn_s": 1}'}, report_interval_s=3600)
    wire.start(board)
    wire.push("0.2", server.add(FILE, data), data)
    wire.wait_version("0.2")  # at once: the interval is an hour
    assert wire.states() == ["version 0.1", "downloading", "burning", "done", "version 0.2"]
    burning = wire.of("burning")
    assert [message.json for message in burning] == [report_progress("burning", "0.2")]
    # It stands over a power cut, too.
    board.power_cut()
    wire.start(board, "0.2")


def test_burning_done_and_the_new_version_of_a_bundle(agent, wire, server, tmp_path):
    """The agent: `done` is said by the version that runs, after its start and report."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "app.py").write_text("async def main():\n    print('app: here')\n")
    pack(folder, "0.2", out=tmp_path / "0.2.bin", application="t", pad_to=None)
    data = (tmp_path / "0.2.bin").read_bytes()
    board = agent(report_interval_s=1)
    wire.start(board)
    wire.push("0.2", server.add(FILE, data), data)
    done = wire.wait_state("done")
    assert wire.states() == ["version 0.1", "downloading", "burning", "version 0.2", "done"]
    assert (board.starts, board.resets) == (2, 1)
    board.wait_log("app: here")
    wire.wait_version("0.2", after=wire.messages.index(done))
    board.stop()
    assert board.read(PATH) == data
    assert json.loads(board.read("/ivota-state.json"))["active"] == PATH
