"""The cloud's pure parts: messages, ranges, signatures, and when a device is pushed."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ivota_tools.cloud.downloads import http_range, signed_urls
from ivota_tools.cloud.downloads.http_range import Slice
from ivota_tools.cloud.mqtt import messages
from ivota_tools.cloud.mqtt.messages import Report, read_report
from ivota_tools.cloud.pages.fleet import can_update
from ivota_tools.cloud.rollout import assignment_states
from ivota_tools.cloud.store.models import Assignment, Device, Firmware

# -- messages -------------------------------------------------------------------------------


def test_reports_as_devices_send_them():
    assert read_report(b'{"type": "report_version", "report": {"version": "0.1"}}') == Report(
        "report_version", version="0.1"
    )
    assert read_report(
        b'{"type": "report_progress", "report": {"progress": {"state": "downloading",'
        b' "percent": "10", "result_code": "0", "result_msg": ""}, "version": "0.2"}}'
    ) == Report("report_progress", "0.2", "downloading", 10, 0, "")
    assert read_report(
        b'{"type":"report_progress","report":{"progress":{"state":"fail","result_code":"-1",'
        b'"result_msg":"time_out"},"version":"0.2"}}'
    ) == Report("report_progress", "0.2", "fail", None, -1, "time_out")


def test_numbers_instead_of_strings_are_understood():
    report = read_report(
        b'{"type":"report_progress","report":{"progress":{"state":"fail","result_code":-4,'
        b'"percent":7},"version":"0.2"}}'
    )
    assert (report.result_code, report.percent) == (-4, 7)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"hello",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b'"report_version"',
        b"{}",
        b'{"type":"report_version"}',
        b'{"type":"report_version","report":null}',
        b'{"type":"report_version","report":{}}',
        b'{"type":"report_version","report":{"version":""}}',
        b'{"type":"report_version","report":{"version":0.1}}',
        b'{"type":"report_version","report":{"version":"\\ud800"}}',
        b'{"type":"report_version","report":{"version":"a\\u0000b"}}',
        b'{"type":"report_version","report":{"version":"' + b"x" * 129 + b'"}}',
        b'{"type":"report_progress","report":{"progress":[],"version":"1"}}',
        b'{"type":"report_progress","report":{"progress":{"state":[]},"version":1}}',
        b'{"type":"report_progress","report":{"progress":{"state":"done"}}}',
        b"[" * 50_000,
        b'{"a":' * 50_000,
        b"9" * 10_000,
    ],
)
def test_garbage_is_told_apart_and_raises_nothing(payload):
    assert read_report(payload).kind in ("garbled", "unknown")


def test_unknown_types_and_states_are_unknown():
    assert read_report(b'{"type":"hello","x":1}').kind == "unknown"
    assert read_report(b'{"type":["report_version"]}').kind == "unknown"
    assert (
        read_report(
            b'{"type":"report_progress","report":{"progress":{"state":"x"},"version":"1"}}'
        ).kind
        == "unknown"
    )


def test_words_of_a_device_are_fit_for_a_terminal_and_a_database():
    message = {
        "type": "report_progress",
        "report": {
            "progress": {
                "state": "fail",
                "result_code": "9" * 30,
                "result_msg": "\x1b[2J\ud800\0x",
            },
            "version": "1",
        },
    }
    report = read_report(json.dumps(message).encode())
    assert report.result_msg == "?[2J??x" and report.result_code is None
    message["report"]["progress"]["result_msg"] = "y" * 10_000
    assert len(read_report(json.dumps(message).encode()).result_msg) == 256
    message["report"]["progress"]["percent"] = "250"
    assert read_report(json.dumps(message).encode()).percent == 100


@settings(max_examples=50, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(
    inner) | st.dictionaries(st.sampled_from(["type", "report", "version", "progress", "state",
                                              "percent", "result_code"]), inner)))  # fmt: skip
def test_no_json_raises(value):
    read_report(json.dumps(value).encode())
    read_report(json.dumps({"type": "report_version", "report": value}).encode())
    read_report(json.dumps({"type": "report_progress", "report": value}).encode())


def test_topics():
    assert messages.device_of("$ota/report/P/d") == ("P", "d")
    assert messages.device_of("$ota/report/P/a/b//c") == ("P", "a/b//c")
    assert messages.device_of("$ota/report/P/ü [red] ..") == ("P", "ü [red] ..")
    for stray in ("", "x", "$ota/report/", "$ota/report/P", "$ota/report/P/", "$ota/report//d",
                  "$ota/report/P/a\x1b", "$ota/report/P/" + "d" * 129,
                  "$ota/report/" + "P" * 129 + "/d", "$ota/update/P/d"):  # fmt: skip
        assert messages.device_of(stray) is None, stray
    assert messages.update_topic("P", "a/b") == "$ota/update/P/a/b"


def test_what_the_cloud_says_is_exact():
    assert messages.version_answer("0.1") == (
        b'{"type":"report_version_rsp","result_code":0,"result_msg":"success","version":"0.1",'
        b'"cloud":"ivota"}'
    )
    assert messages.update_firmware("0.2", "http://h/f", 708482, "AB" * 16) == (
        b'{"type":"update_firmware","version":"0.2","url":"http://h/f","file_size":708482,'
        b'"md5sum":"' + b"ab" * 16 + b'","user_defined":"ivota"}'
    )


def test_a_push_fits_into_what_the_device_accepts():
    def said(limit):
        report = {"version": "1", "max_message_bytes": limit}
        text = json.dumps({"type": "report_version", "report": report})
        return messages.read_report(text.encode()).message_most

    assert messages.url_most(None) == 999  # some clients keep a buffer of 1,000
    for limit in (600, 4096, "4096", 8192):
        url = "u" * messages.url_most(said(limit))
        push = messages.update_firmware("\U0001f600" * 32, url, 10**10, "0" * 32)
        assert int(limit) - 64 < len(push) <= int(limit)
    assert said(10**6) == 8192
    assert [said(wrong) for wrong in (None, -1, 0, 511, 1e9, True, [4096], "x")] == [None] * 8


def test_a_chip_has_the_name_of_its_number():
    def said(number):
        text = json.dumps(
            {"type": "report_version", "report": {"version": "1", "chip_id": number}}
        )
        found = messages.read_report(text.encode())
        assert found.version == "1"
        return found.chip

    assert [said(number) for number in (0, 5, "9", 65535)] == [
        "esp32", "esp32c3", "esp32s3", "chip 65535"
    ]  # fmt: skip
    for wrong in (None, -1, 65536, 10**30, 5.0, True, [5], {}, "x", "esp32"):
        assert said(wrong) is None, wrong


# -- ranges ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header, expected",
    [
        (None, Slice(0, 100, False)),
        ("", Slice(0, 100, False)),
        ("bytes=0-", Slice(0, 100, True)),
        ("bytes=10-", Slice(10, 90, True)),
        ("bytes=99-", Slice(99, 1, True)),
        ("bytes=10-19", Slice(10, 10, True)),
        ("bytes=0-0", Slice(0, 1, True)),
        ("bytes=0-99", Slice(0, 100, True)),
        ("bytes=90-100", Slice(90, 10, True)),  # one past the end
        ("bytes=90-" + "9" * 5000, Slice(90, 10, True)),
        ("bytes=-10", Slice(90, 10, True)),
        ("bytes=-1000", Slice(0, 100, True)),
        ("Bytes = 10-19 ", Slice(10, 10, True)),
        ("bytes=100-", None),
        ("bytes=100-100", None),
        ("bytes=" + "9" * 5000 + "-", None),
        ("bytes=-0", None),
        ("bytes=19-10", Slice(0, 100, False)),
        ("bytes=-", Slice(0, 100, False)),
        ("bytes=a-b", Slice(0, 100, False)),
        ("bytes=0-1,5-6", Slice(0, 100, False)),
        ("lines=0-1", Slice(0, 100, False)),
        ("bytes=٣-", Slice(0, 100, False)),
        ("bytes=00000000000000000000010-", Slice(10, 90, True)),
    ],
)
def test_ranges(header, expected):
    assert http_range.choose(header, 100) == expected


@settings(deadline=None)
@given(st.text(alphabet="bytes=0123456789-, ", max_size=30), st.integers(1, 10**9))
def test_a_slice_is_always_inside_the_file(header, size):
    part = http_range.choose(header, size)
    assert part is None or (part.length > 0 and 0 <= part.start <= size - part.length)


# -- signatures -----------------------------------------------------------------------------


def test_a_signature_is_for_one_file_and_one_time():
    secret = b"s" * 32
    url = signed_urls.make_url("http://h", secret, 7, 2000)
    sign = url.partition("sign=")[2]
    assert url == f"http://h/files/7?expires=2000&sign={sign}" and len(sign) == 64
    assert signed_urls.is_valid(secret, 7, "2000", sign, 1999.9)
    assert not signed_urls.is_valid(secret, 7, "2000", sign, 2000)
    assert not signed_urls.is_valid(secret, 8, "2000", sign, 1)
    assert not signed_urls.is_valid(secret, 7, "2001", sign, 1)
    assert not signed_urls.is_valid(b"t" * 32, 7, "2000", sign, 1)
    for expires in ("", "-1", "2000.0", "٢٠٠٠", "9" * 5000, "1e9", " 2000"):
        assert not signed_urls.is_valid(secret, 7, expires, sign, 1)
    for wrong in ("", sign[:-1], sign + "0", sign.upper(), "ü" * 64, "\ud800"):
        assert not signed_urls.is_valid(secret, 7, "2000", wrong, 1)


# -- when a device is pushed ----------------------------------------------------------------

BACK_OFF = assignment_states.BackOff(first_s=10, most_s=100)


class Rollout:
    """One assignment of version 2 to a device, and a clock."""

    def __init__(self, running="1"):
        self.now = 1000.0
        self.a = Assignment(
            firmware=Firmware(version="2"), pushes=0, soft_failures=0, hard_failures=0, state=""
        )
        assignment_states.begin(self.a, running, self.now)

    @property
    def due(self):
        return self.a.next_push_at is not None and self.a.next_push_at <= self.now

    def push(self):
        assert self.due
        assignment_states.on_pushed(self.a, self.now)

    def runs(self, version, before=None):
        assignment_states.on_version(self.a, version, self.now, before)

    def says(self, state, code=0, percent=None, version="2"):
        report = Report("report_progress", version, state, percent, code, "words")
        assignment_states.on_progress(self.a, report, self.now, BACK_OFF)


def test_a_whole_update():
    r = Rollout()
    assert r.a.state == "waiting"
    r.push()
    assert (r.a.state, r.due) == ("pushed", False)
    r.says("downloading", percent=10)
    assert (r.a.state, r.a.percent) == ("downloading", 10)
    r.says("burning")
    assert r.a.state == "burning"
    r.runs("2")
    assert (r.a.state, r.due) == ("current", False)
    r.says("done")
    assert (r.a.state, r.a.percent, r.due) == ("done", 100, False)
    for version in ("2", "1", "3"):
        r.runs(version)
        assert (r.a.state, r.due, r.a.left_target) == ("done", False, version != "2")


def test_what_was_reported_before_done_says_nothing_of_what_runs_since():
    r = Rollout()
    r.push()
    r.runs("1")
    r.says("done")
    device = Device(version="1", assignment=r.a)
    assert not r.a.left_target and assignment_states.running(device) == "2"
    assert not can_update(device, r.a.firmware)
    r.runs("1")
    assert r.a.left_target and assignment_states.running(device) == "1"
    assert can_update(device, r.a.firmware)
    r.says("done")
    assert not r.a.left_target


def test_a_push_after_every_report_until_done():
    r = Rollout()
    for _ in range(5):
        r.push()
        assert not r.due
        r.says("downloading", percent=30)
        r.runs("1")
    r.push()
    assert (r.a.state, r.a.percent, r.a.pushes) == ("downloading", 30, 6)


@pytest.mark.parametrize(
    "running, before, state",
    [
        ("3", "1", "skipped"),  # the update led it to a channel, which has led it back
        ("3", "3", "burning"),  # a downgrade that it has rolled back
        ("0", "1", "burning"),  # the factory package
        ("1", "1", "burning"),
    ],
)
def test_a_device_that_comes_back_newer_is_not_sent_away_again(running, before, state):
    r = Rollout(before)
    r.push()
    r.says("burning")
    r.runs(running, before)
    assert (r.a.state, r.due) == (state, state == "burning")


def test_a_device_that_runs_the_target_is_done_at_once():
    r = Rollout(running="2")
    assert (r.a.state, r.due, r.a.ended_at) == ("done", False, r.now)
    first = Rollout(running=None)  # it had not reported when the target was set
    first.runs("2")
    assert (first.a.state, first.due) == ("done", False)
    # Unless it is on trial since an earlier push: it may still go back.
    on_trial = Rollout()
    on_trial.push()
    on_trial.runs("2")
    assert assignment_states.is_trial(on_trial.a, "2") and not assignment_states.is_trial(r.a, "2")
    again = Rollout()
    assignment_states.begin(again.a, "2", again.now, on_trial=True)
    again.runs("2")
    assert (again.a.state, again.due) == ("current", False)
    again.runs("1")
    again.push()
    assert again.a.state == "pushed"


def test_what_happened_in_an_attempt_stays():
    r = Rollout()
    r.push()
    r.says("fail", -5)
    failed = r.now
    r.now += 3600
    r.push()
    r.says("downloading", percent=7)
    assert (r.a.failed_at, r.a.failure_code, r.a.failure_msg) == (failed, -5, "words")
    r.says("done")
    ended = r.now
    assert r.a.ended_at == ended and r.a.failure_code == -5
    r.now += 60
    r.says("done")  # delivered twice
    assignment_states.cancel(r.a, r.now)
    assignment_states.supersede(r.a, r.now)
    assert (r.a.state, r.a.ended_at, r.a.updated_at) == ("done", ended, ended)


@pytest.mark.parametrize("code", [-1, -2, -3])
def test_failed_downloads_are_pushed_again_with_back_off(code):
    r = Rollout()
    for wait in (10, 20, 40, 80, 100, 100):
        r.push()
        r.says("fail", code)
        assert (r.a.state, r.a.result_code, r.a.result_msg) == ("retry", code, "words")
        assert r.a.next_push_at == r.now + wait
        r.runs("1")  # reports meanwhile bring no push
        assert not r.due
        r.now += wait
    assert r.a.soft_failures == 6


@pytest.mark.parametrize("code", [-4, -5, -77, 3, None])
def test_other_failures_three_times_in_all(code):
    r = Rollout()
    for wait in (10, 20):
        r.push()
        r.says("fail", code)
        assert (r.a.state, r.a.next_push_at) == ("retry", r.now + wait)
        r.now += wait
    r.push()
    r.says("fail", code)
    assert (r.a.state, r.due, r.a.pushes, r.a.result_code) == ("failed", False, 3, code)
    r.runs("1")
    r.says("downloading", percent=1)
    r.says("fail", -1)
    assert (r.a.state, r.due, r.a.result_code) == ("failed", False, code)
    r.says("done")  # late, but there
    assert r.a.state == "done"


def test_a_failure_that_is_delivered_twice_counts_once():
    r = Rollout()
    r.push()
    for _ in range(5):
        r.says("fail", -5)
    assert (r.a.state, r.a.hard_failures) == ("retry", 1)


def test_soft_failures_do_not_use_up_the_hard_ones():
    r = Rollout()
    for code in (-5, -1, -1, -4, -3):
        r.push()
        r.says("fail", code)
        assert r.a.state == "retry"
        r.now = r.a.next_push_at
    r.push()
    r.says("fail", -5)
    assert r.a.state == "failed"


def test_a_rollback_after_the_first_report_counts_as_a_failure():
    r = Rollout()
    r.push()
    r.runs("2")
    r.says("fail", -5)
    assert (r.a.state, r.a.hard_failures) == ("retry", 1)


def test_reports_about_another_version_change_nothing():
    r = Rollout()
    r.push()
    for state in ("downloading", "burning", "done", "fail"):
        r.says(state, code=-5, version="1.9")
    assert (r.a.state, r.a.hard_failures) == ("pushed", 0)


def test_a_superseded_target_is_over():
    r = Rollout()
    assignment_states.supersede(r.a, r.now)
    assert (r.a.state, r.a.current, r.due) == ("superseded", False, False)
    r.runs("1")
    r.says("done")
    assert (r.a.state, r.due) == ("superseded", False)
    finished = Rollout()
    finished.says("done")
    assignment_states.supersede(finished.a, finished.now)
    assert (finished.a.state, finished.a.current) == ("done", False)


def test_the_back_off_has_a_ceiling_at_any_count():
    assert BACK_OFF.after(100_000) == 100


def test_a_notice():
    """What our own boards say of a push that has no effect."""
    said = {"type": "report_notice", "report": {"message": "it rests", "version": "0.2"}}
    assert messages.read_report(json.dumps(said).encode()) == messages.Report(
        messages.REPORT_NOTICE, version="0.2", result_msg="it rests"
    )
    said["report"]["wait_s"] = "30"
    del said["report"]["version"]
    assert messages.read_report(json.dumps(said).encode()) == messages.Report(
        messages.REPORT_NOTICE, result_msg="it rests (30 s more)"
    )
    for report in ({}, None, [], {"message": "x", "version": 5}):
        text = json.dumps({"type": "report_notice", "report": report}).encode()
        assert messages.read_report(text).kind == messages.GARBLED


def test_versions_are_sent_without_escapes():
    assert "v\U0001f600".encode() in messages.version_answer("v\U0001f600")
    assert "v\U0001f600".encode() in messages.update_firmware("v\U0001f600", "u", 1, "0" * 32)
