"""Every message of the protocol on the wire, both ways: types, shapes, quality of service.

32-bit MicroPython, umqtt.simple, a real mosquitto; what is compared is what the broker delivers
and, where it matters, the board's own packets.
"""

from __future__ import annotations

import hashlib
import json
import time

import pytest
from badserver import Step
from fronts import Tap
from wire import Wire, report_progress, report_version, update_firmware

FILE = "/f.bin"
CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 12, 14


# --- one whole update


def test_every_message_of_an_update(application, wire, server, firmware):
    data = firmware()
    url = server.add(FILE, data)
    board = application()
    wire.start(board)
    wire.push("0.2", url, data)
    wire.wait_version("0.2")
    assert [message.json for message in wire.messages] == [
        report_version("0.1"),
        report_progress("downloading", "0.2", "0"),
        report_progress("downloading", "0.2", "100"),
        report_progress("burning", "0.2"),
        report_progress("done", "0.2"),
        report_version("0.2"),
    ]
    assert [message.qos for message in wire.messages] == [1, 0, 0, 1, 1, 1]
    assert not any(message.retain for message in wire.messages)
    assert {message.topic for message in wire.messages} == {f"$ota/report/P/{wire.name}"}
    assert wire.settle(board) == []


def test_nothing_is_retained(application, broker, wire, server, firmware):
    data = firmware(20_000)
    board = application()
    wire.start(board)
    wire.push("0.2", server.add(FILE, data), data)
    wire.wait_version("0.2")
    with Wire(broker.port, wire.name) as late:
        assert late.settle() == []


@pytest.mark.slow
def test_the_packets_of_a_session(application, broker, wire, server, firmware):
    """A clean session without a will, a subscription with QoS 1, a farewell; retain never set."""
    data = firmware(20_000)
    with Tap(broker.port) as tap:
        board = application({"/app.json": b'{"downloads": 1, "exit_s": 3}'}, port=tap.port)
        wire.start(board)
        wire.push("0.2", server.add(FILE, data), data, qos=1)
        wire.wait_version("0.2")
        board.wait_log("app: ended")
        tap.wait_closed()
        packets = tap.packets()
    assert len(tap.said) == 1
    kinds = [first >> 4 for first, _ in packets]
    assert kinds[:3] == [CONNECT, SUBSCRIBE, PUBLISH] and kinds[-1] == DISCONNECT
    # Variable header: name of the protocol, level 4, flags (clean session alone), keep-alive.
    client_id = f"P{wire.name}".encode()
    assert packets[0][1] == (
        b"\0\4MQTT\4\2" + (120).to_bytes(2, "big") + len(client_id).to_bytes(2, "big") + client_id
    )
    topic = f"$ota/update/P/{wire.name}".encode()
    subscribe = packets[1]
    assert subscribe[0] == 0x82
    assert subscribe[1][2:] == len(topic).to_bytes(2, "big") + topic + b"\1"
    published = [first for first, _ in packets if first >> 4 == PUBLISH]
    assert set(published) == {0x30, 0x32}  # QoS 0 and 1; no repeat, no retain
    assert kinds.count(PUBACK) == 1  # of the push


@pytest.mark.slow
def test_progress_at_most_once_a_second(application, wire, server, firmware):
    data = firmware()
    server.rate = 15_000
    board = application()
    wire.start(board)
    pushed = time.monotonic()
    wire.push("0.2", server.add(FILE, data), data)
    wire.wait_version("0.2")
    said = wire.of("downloading")
    percents = [message.percent for message in said]
    assert percents[0] == 0 and percents[-1] == 100
    assert percents == sorted(set(percents))
    # All were said after the push and before the last was heard, however late that was.
    assert 3 <= len(percents) <= 2 + (said[-1].at - pushed)


def test_progress_of_a_resume_begins_where_it_stands(application, wire, server, firmware):
    data = firmware()
    md5 = hashlib.md5(data).hexdigest()
    known = {"version": "0.2", "md5sum": md5, "file_size": len(data), "position": 0}
    files = {"/firmware/0.2.bin": data[:25_200], "/firmware/0.2.json": json.dumps(known).encode()}
    board = application(files)
    wire.start(board)
    wire.push("0.2", server.add(FILE, data), data)
    wire.wait_version("0.2")
    assert [message.json for message in wire.of("downloading")] == [
        report_progress("downloading", "0.2", "42"),
        report_progress("downloading", "0.2", "100"),
    ]


# --- report_version


def test_version_on_every_connection(application, broker, wire, proxy):
    link = proxy(broker.port)
    board = application(port=link.port)
    wire.start(board)
    for kind in ("rst", "fin", "rst"):
        heard = len(wire.messages)
        assert link.cut_now(kind) == 1
        version = wire.wait_version("0.1", after=heard)
        assert version.qos == 1
    assert len(wire.messages) == 4
    assert board.starts == 1


def test_version_on_every_connection_during_a_download(application, broker, wire, server, proxy):
    """In a roomy heap, the modules of a connection stay loaded until the update ends."""
    data = bytes(20_000)
    link = proxy(broker.port)
    board = application(port=link.port, http={"deadline_s": 60})
    wire.start(board)
    wire.push("0.2", server.add(FILE, data, [Step(hold_at=10_000)]), data)
    wire.wait_state("downloading")
    for kind in ("rst", "fin", "rst"):
        heard = len(wire.messages)
        assert link.cut_now(kind) == 1
        wire.wait_version("0.1", after=heard)
    server.release()
    wire.wait_version("0.2")
    assert len(server.requests) == 1


@pytest.mark.slow
def test_version_at_the_interval_until_exit(application, wire, server, firmware):
    data = firmware(20_000)
    url = server.add(FILE, data, [Step(hold_at=0)])
    board = application({"/app.json": b'{"downloads": 1, "exit_s": 0}'}, report_interval_s=1)
    started = time.monotonic()
    wire.start(board)
    for heard in range(1, 5):
        wire.wait_version("0.1", after=heard)
    wire.push("0.2", url, data)
    board.wait_log("app: ended")
    took = time.monotonic() - started
    wire.settle()
    # One at once, then one each second that it ran.
    assert len(wire.of("version")) <= 1 + took
    board.wait_log("^REPL$")  # it runs nothing any more
    assert wire.settle() == []


def test_the_answer_is_not_needed_and_changes_nothing(application, wire, server, firmware):
    data = firmware(20_000)
    board = application()
    wire.start(board)
    answer = {"type": "report_version_rsp", "result_code": 0, "result_msg": "success"}
    wire.send({**answer, "version": "0.1"})
    wire.send({**answer, "result_code": -1, "result_msg": "no such device"})
    wire.send(answer)
    assert wire.settle(board) == []
    wire.push("0.2", server.add(FILE, data), data)
    wire.wait_state("done")


# --- update_firmware


@pytest.mark.parametrize("qos", [0, 1])
def test_push_of_either_quality(application, wire, server, firmware, qos):
    data = firmware(20_000)
    board = application()
    wire.start(board)
    wire.push("0.2", server.add(FILE, data), data, qos=qos)
    wire.wait_state("done")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"md5sum": "upper"},
        {"user_defined": None},
        {"user_defined": ""},
        {"user_defined": {"an": ["object"]}},
        {"colour": "green", "firmware": [1, {"2": None}], "percent": 4, "result_code": "7"},
    ],
    ids=["upper", "no user_defined", "empty user_defined", "user_defined object", "unknown"],
)
def test_pushes_that_are_taken(application, wire, server, firmware, fields):
    data = firmware(20_000)
    if "md5sum" in fields:
        fields = {"md5sum": hashlib.md5(data).hexdigest().upper()}
    board = application()
    wire.start(board)
    wire.push("0.2", server.add(FILE, data), data, **fields)
    wire.wait_version("0.2")
    assert [message.json for message in wire.messages][-3:] == [
        report_progress("burning", "0.2"),
        report_progress("done", "0.2"),
        report_version("0.2"),
    ]
    assert f"20000 20000 {hashlib.md5(data).hexdigest()} " in board.wait_log("app: burns.*")[0]


def test_upper_and_lower_case_are_the_same_firmware(application, wire, server, firmware):
    """A push that differs in nothing but case is no other firmware: the download goes on."""
    data = firmware()
    url = server.add(FILE, data, [Step(hold_at=30_000)])
    board = application()
    wire.start(board)
    wire.push("0.2", url, data)
    server.wait_sent(FILE, 30_000)
    wire.push("0.2", url, data, md5sum=hashlib.md5(data).hexdigest().upper())
    wire.wait_taken(board)
    server.release()
    wire.wait_state("done")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "echo",
    [{"fw_type": "mcu", "task_id": 4711}, {"fw_type": "mcu"}, {"task_id": 0}],
    ids=["both", "fw_type", "task_id"],
)
def test_echo(application, wire, server, firmware, echo):
    """What the push carried stands in each report of it, in `report`; in no other."""
    data = firmware(20_000)
    board = application()
    wire.start(board)
    wire.push("0.2", server.add(FILE, data), data, **echo)
    wire.wait_version("0.2")

    def echoed(*arguments):
        message = report_progress(*arguments)
        message["report"].update(echo)
        return message

    assert [message.json for message in wire.messages] == [
        report_version("0.1"),
        echoed("downloading", "0.2", "0"),
        echoed("downloading", "0.2", "100"),
        echoed("burning", "0.2"),
        echoed("done", "0.2"),
        report_version("0.2"),
    ]


def test_echo_in_a_failure(application, wire, server, firmware):
    data = firmware(20_000)
    board = application()
    wire.start(board)
    wire.push("0.2", server.url("/none.bin"), data, fw_type="mcu", task_id=4711)
    said = wire.wait_state("fail").json["report"]
    assert (said["fw_type"], said["task_id"]) == ("mcu", 4711)
    assert said["progress"]["result_code"] == "-2"


def test_messages_that_are_ignored(application, wire, server, firmware):
    data = firmware(20_000)
    board = application()
    wire.start(board)
    push = update_firmware("0.2", server.add(FILE, data), data)
    for message in (
        b"",
        b"{",
        b"not json \xff\xfe",
        b"[]",
        b"null",
        b"7",
        b'"update_firmware"',
        b'{"type": "update_firmware"',
        b"[" * 3000,
        {},
        {"type": None},
        {"type": ["update_firmware"]},
        {"type": "reboot", "version": "0.2"},
        {**push, "type": "update_firmwares"},
        {**push, "type": "UPDATE_FIRMWARE"},
        {**push, "version": "0.1"},  # what runs
        {"type": "x", "filler": "x" * 20_000},  # beyond max_message_bytes
    ):
        wire.send(message)
    assert wire.settle(board) == []
    assert server.requests == []
    assert board.starts == 1
    wire.send(push)
    wire.wait_state("done")


@pytest.mark.slow
def test_json_of_any_shape_and_depth(application, wire, server, firmware):
    """Of messages that are short enough to be taken in, and of ones that are not."""
    data = firmware(20_000)
    board = application(mqtt={"max_message_bytes": 24_000})
    wire.start(board)
    push = update_firmware("0.2", server.add(FILE, data), data)
    text = json.dumps(push)
    ignored = (
        "[" * 10_000,
        "[" * 10_000 + "]" * 10_000,
        '{"a":' * 4_000,
        '{"a":' * 10_000 + "1" + "}" * 10_000,  # 60 KB
        '{"type": ' + "[" * 10_000 + "]" * 10_000 + "}",
        text.replace("update_firmware", "\0update_firmware"),
        text.replace('"0.2"', '"\\ud800"'),
        text.replace('"0.2"', '"a\\u0000b"'),
        text[:-1] + ', "version": false}',
        text[:-1] + ', "version": ' + "9" * 5_000 + "}",
    )
    for message in ignored:
        wire.send(message.encode())
    assert wire.settle(board) == []
    assert server.requests == [] and board.starts == 1
    # A push is one all the same, whatever else stands in it; what is too deep to be sent again,
    # or has no UTF-8, is not echoed.
    task = "[" * 7_000 + "1" + "]" * 7_000
    wire.send((text[:-1] + f', "task_id": {task}, "fw_type": "x\\ud800"}}').encode())
    wire.wait_state("done")
    assert not any("task_id" in message.json["report"] for message in wire.of("done"))
    assert not any("fw_type" in message.json["report"] for message in wire.of("done"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"file_size": "20000"},
        {"file_size": 0},
        {"file_size": -1},
        {"file_size": 20000.5},
        {"file_size": True},
        {"file_size": None},
        {"file_size": 2**63},
        {"file_size": 10**30},
        {"file_size": -(2**63)},
        {"md5sum": "0123"},
        {"md5sum": 5},
        {"md5sum": "g" * 32},
        {"md5sum": None},
        {"md5sum": "\0" * 32},
        {"url": None},
        {"url": 7},
        {"url": "ftp://127.0.0.1/f.bin"},
        {"url": "http://127.0.0.1/f.bin HTTP/1.0\r\nX: y"},
        {"url": "http://user:secret@127.0.0.1/f.bin"},
        {"url": "http:///f.bin"},
        {"url": "http://127.0.0.1:99999/f.bin"},
        {"url": ""},
    ],
    ids=str,
)
def test_push_that_cannot_be_followed_is_refused_once(application, wire, server, firmware, fields):
    data = firmware(20_000)
    board = application()
    wire.start(board)
    push = {**update_firmware("0.2", server.add(FILE, data), data), **fields}
    wire.send({key: value for key, value in push.items() if value is not None})
    fail = wire.wait_state("fail")
    text = fail.json["report"]["progress"]["result_msg"]
    assert fail.json == report_progress("fail", "0.2", code="-5", message=text) and text
    assert "secret" not in text
    wire.settle(board)
    assert len(wire.of("fail")) == 1 and not wire.of("burning")
    # The next good one is taken; where the push was started on, only after its back-off.
    wire.push("0.2", server.url(FILE), data)
    wire.wait_state("done")


@pytest.mark.slow
def test_push_again_while_the_application_burns(application, wire, server, firmware):
    """It comes after each report until `done`: nothing is fetched or handed over twice."""
    data = firmware(20_000)
    board = application({"/app.json": b'{"burn_s": 3}'})
    wire.start(board)
    url = server.add(FILE, data)
    wire.push("0.2", url, data)
    wire.wait_state("burning")
    for _ in range(3):
        wire.push("0.2", url, data)
        wire.wait_taken(board)
    assert not wire.of("done"), "it had burnt before"
    wire.wait_version("0.2")
    wire.push("0.2", url, data)
    wire.settle(board)
    assert len(server.requests) == len(wire.of("burning")) == len(wire.of("done")) == 1
    assert len([line for line in board.log if "app: burns" in line]) == 1


def test_push_again_after_the_application_failed(application, wire, server, firmware):
    """What is there, verified once, is verified again and handed over, not fetched again."""
    data = firmware(20_000)
    board = application({"/app.json": b'{"report": ["fail", -5, "flash worn out"]}'})
    wire.start(board)
    url = server.add(FILE, data)
    wire.push("0.2", url, data)
    wire.wait_state("fail")
    board.power_cut()
    board.write("/app.json", b"{}")
    wire.start(board)
    wire.push("0.2", url, data)
    wire.wait_state("done")
    assert len(server.requests) == 1


def test_download_goes_on_without_the_broker(application, broker, wire, server, proxy, firmware):
    data = firmware()
    link = proxy(broker.port)
    url = server.add(FILE, data, [Step(hold_at=30_000)])
    board = application(port=link.port)
    wire.start(board)
    wire.push("0.2", url, data)
    server.wait_sent(FILE, 30_000)
    link.refuse()
    link.cut_now()
    server.release()
    board.wait_log("verified")
    heard = len(wire.messages)
    link.accept()
    wire.wait_version("0.2", after=heard)
    assert [each.state for each in wire.messages[heard:]] == [None, "burning", "done", None]
    assert len(server.requests) == 1


# --- versions that are no file names


@pytest.mark.slow
@pytest.mark.parametrize(
    "version",
    [
        "../../boot",
        "/boot",
        ".x",
        "..",
        ".",
        "a/b",
        "a\\b",
        "0.2 beta",
        "A-z_0.9",
        "v" * 33,
        "v" * 64,
        "0.2\u2013\u00fc\u4e2d",
        '"quoted"',
        "%s%d{}",
    ],
)
def test_unsafe_version_never_decides_a_path(application, wire, server, firmware, version):
    data = firmware(20_000)
    board = application()
    wire.start(board)
    before = board.flash.tree()
    wire.push(version, server.add(FILE, data), data)
    wire.wait_version(version)
    assert {message.json["report"]["version"] for message in wire.messages} == {"0.1", version}
    assert wire.of("done")[0].json == report_progress("done", version)
    board.stop()
    stem = hashlib.sha256(version.encode()).hexdigest()[:16]
    tree = board.flash.tree()
    assert tree.pop(f"/firmware/{stem}.bin") == data
    del tree["/burnt.json"], tree["/ivota-state.json"]
    assert tree == before


@pytest.mark.slow
@pytest.mark.parametrize("version", ["v" * 32, "a-z_0.9", "0..2", "-", "0.2.json"])
def test_safe_version_is_the_name(application, wire, server, firmware, version):
    data = firmware(20_000)
    board = application()
    wire.start(board)
    wire.push(version, server.add(FILE, data), data)
    wire.wait_version(version)
    board.stop()
    assert board.read(f"/firmware/{version}.bin") == data
    assert board.listdir("/firmware") == [f"{version}.bin"]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["", "v" * 65, "0.2\n", "0.2\0", 2, None, ["0.2"]], ids=repr)
def test_what_is_no_version_is_ignored(application, wire, server, firmware, version):
    data = firmware(20_000)
    board = application()
    wire.start(board)
    push = update_firmware("0.2", server.add(FILE, data), data)
    wire.send({**push, "version": version})
    assert wire.settle(board) == []
    assert server.requests == []
    assert "firmware" not in board.listdir("/")
    wire.send(push)
    wire.wait_state("done")


# --- what the board keeps while a download is unfinished


def test_checkpoint_beside_the_firmware_while_unfinished(application, wire, server, firmware):
    data = firmware()
    url = server.add(FILE, data, [Step(hold_at=30_000)])
    board = application()
    wire.start(board)
    wire.push("0.2", url, data)
    server.wait_sent(FILE, 30_000)
    assert board.listdir("/firmware") == ["0.2.bin", "0.2.json"]
    checkpoint = json.loads(board.read("/firmware/0.2.json"))
    assert len(checkpoint.pop("crc")) == 8
    assert checkpoint == {
        "version": "0.2",
        "md5sum": hashlib.md5(data).hexdigest(),
        "file_size": len(data),
        "position": 0,
    }
    server.release()
    wire.wait_state("done")
    assert board.listdir("/firmware") == ["0.2.bin"]


@pytest.mark.slow
def test_an_orderly_stop_keeps_every_byte(application, wire, server, firmware):
    data = firmware()
    url = server.add(FILE, data, [Step(hold_at=30_000)])
    board = application({"/app.json": b'{"downloads": 1, "exit_s": 3}'})
    wire.start(board)
    wire.push("0.2", url, data)
    board.wait_log("app: ended")
    assert json.loads(board.read("/firmware/0.2.json"))["position"] == 30_000
    assert board.read("/firmware/0.2.bin") == data[:30_000]
    board.stop()
    board.write("/app.json", b"{}")
    wire.start(board)
    wire.push("0.2", url, data)
    wire.wait_state("done")
    assert [request.range for request in server.requests] == ["bytes=0-", "bytes=30000-"]
    board.stop()
    assert board.read("/firmware/0.2.bin") == data


def test_firmware_dir(application, wire, server, firmware):
    data = firmware(20_000)
    board = application(firmware_dir="/parts")
    wire.start(board)
    wire.push("0.2", server.add(FILE, data), data)
    wire.wait_state("done")
    assert board.listdir("/parts") == ["0.2.bin"]
    assert "firmware" not in board.listdir("/")
