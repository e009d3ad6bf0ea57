"""The cloud's JSON: what is sent has the protocol's types, what comes in may be hostile."""

import json

from ivota import OtaError, message_handler, tencent
from ivota.result_codes import FAILED
from support import raises

PUSH = {
    "type": "update_firmware",
    "version": "0.2",
    "url": "https://example.com/f.bin?sign=1",
    "file_size": 708482,
    "md5sum": "36eb5951179db14a631463a37a9322a2",
    "user_defined": "x",
}


def read(payload):
    return message_handler.read(message_handler.load(payload))


def push(**changed):
    message = dict(PUSH)
    message.update(changed)
    return read(json.dumps(message).encode())


def refused(payload, part):
    with raises(OtaError, part) as caught:
        read(payload)
    assert caught.value.code == FAILED
    assert not caught.value.again
    return caught.value


def test_report_version():
    assert json.loads(tencent.report_version("0.1")) == {
        "type": "report_version",
        "report": {"version": "0.1"},
    }


def test_downloading_sends_strings():
    text = tencent.report_progress("downloading", "0.2", 10)
    assert json.loads(text) == {
        "type": "report_progress",
        "report": {
            "progress": {
                "state": "downloading",
                "percent": "10",
                "result_code": "0",
                "result_msg": "",
            },
            "version": "0.2",
        },
    }


def test_percent_zero_is_sent():
    progress = json.loads(tencent.report_progress("downloading", "0.2", 0))["report"]["progress"]
    assert progress["percent"] == "0"


def test_other_states_have_no_percent():
    for state in ("burning", "done"):
        assert json.loads(tencent.report_progress(state, "0.2"))["report"] == {
            "progress": {"state": state, "result_code": "0", "result_msg": ""},
            "version": "0.2",
        }


def test_fail_carries_code_and_words():
    text = tencent.report_progress("fail", "0.2", None, -1, "time_out")
    assert json.loads(text)["report"] == {
        "progress": {"state": "fail", "result_code": "-1", "result_msg": "time_out"},
        "version": "0.2",
    }


def test_echo_stands_beside_version():
    text = tencent.report_progress("done", "0.2", echo={"fw_type": "mcu", "task_id": 7})
    report = json.loads(text)["report"]
    assert report["fw_type"] == "mcu"
    assert report["task_id"] == 7
    assert sorted(report) == ["fw_type", "progress", "task_id", "version"]


def test_text_is_escaped():
    text = tencent.report_progress("fail", '0."2', None, -5, 'a "b"\n\\c')
    assert json.loads(text)["report"]["progress"]["result_msg"] == 'a "b"\n\\c'
    assert json.loads(text)["report"]["version"] == '0."2'


def test_a_push():
    found = push()
    assert found.version == "0.2"
    assert found.url == "https://example.com/f.bin?sign=1"
    assert found.size == 708482
    assert found.md5 == "36eb5951179db14a631463a37a9322a2"
    assert found.echo == {}


def test_str_and_bytes_are_taken():
    assert read(json.dumps(PUSH)).version == "0.2"
    assert read(bytearray(json.dumps(PUSH).encode())).version == "0.2"


def test_md5_may_be_upper_case():
    assert push(md5sum=PUSH["md5sum"].upper()).md5 == PUSH["md5sum"]


def test_user_defined_is_optional():
    message = dict(PUSH)
    del message["user_defined"]
    assert read(json.dumps(message)).size == 708482


def test_newer_fields_are_echoed_unknown_ones_not():
    found = push(fw_type="mcu", task_id=123, colour="red")
    assert found.echo == {"fw_type": "mcu", "task_id": 123}


def test_fields_of_another_kind_are_not_echoed():
    found = push(fw_type=["mcu"], task_id={"a": 1})
    assert found.echo == {}


def test_fields_of_any_length_are_not_echoed():
    # The state has them too: more than it can have would cost all else that is in it.
    for longest in ("x" * 256, "\xfc" * 128, 10**255, -(10**254)):
        assert push(task_id=longest).echo == {"task_id": longest}
    for longer in ("x" * 257, "\xfc" * 128 + "x", "\1" * 3000, 10**256, -(10**255)):
        assert push(task_id=longer).echo == {}


def test_half_a_surrogate_pair_is_not_echoed():
    # It has no UTF-8: no cloud could read a report with it, and none would be told of the end.
    payload = json.dumps(dict(PUSH, fw_type="A", task_id="B")).replace('"A"', '"x\\ud800"')
    for half in ("\\udfff", "\\ud800x"):
        try:
            found = read(payload.replace('"B"', '"%s"' % half))
        except ValueError:
            continue
        assert found.echo == {}
    assert push(fw_type="", task_id="\u00e4").echo == {"fw_type": "", "task_id": "\u00e4"}


def test_identity_is_not_the_url():
    assert push().same_firmware(push(url="http://other/"))
    assert not push().same_firmware(push(version="0.3"))
    assert not push().same_firmware(push(file_size=1))
    assert not push().same_firmware(push(md5sum="0" * 32))
    assert not push().same_firmware(None)


def test_other_messages_are_not_for_us():
    answer = {"type": "report_version_rsp", "result_code": 0, "result_msg": "success"}
    for message in (answer, {}, {"type": "other"}, {"type": None}, {"type": ["x"]}, {"type": 1}):
        assert read(json.dumps(message)) is None
    for payload in (b"[]", b"1", b'"update_firmware"', b"null", b"true", b"1.5"):
        assert read(payload) is None


def test_not_json_is_a_value_error():
    for payload in (
        b"",
        b"nonsense",
        b"{'a': 1}",
        b"\0",
        b"[1]x",
        b'{"type": "\xff"}',
        b"\xff",
    ):
        with raises(ValueError):
            read(payload)


def test_what_a_lenient_parser_takes_is_still_checked():
    # MicroPython's parser overlooks a missing colon or comma; that of 1.25 a missing end.
    for payload in (b"{", b"{]", b'{"type"}', b'{"type": "update_firmware" "version" "1"}'):
        try:
            assert read(payload) is None
        except (ValueError, OtaError):
            pass


def test_each_field_missing():
    for key in ("version", "url", "file_size", "md5sum"):
        message = dict(PUSH)
        del message[key]
        error = refused(json.dumps(message), key)
        assert error.version == (None if key == "version" else "0.2")


def test_each_field_of_every_wrong_type():
    wrong = (None, True, False, [], {}, ["0.2"], {"a": 1}, 1.5)
    for key in ("version", "url", "file_size", "md5sum"):
        for value in wrong:
            refused(json.dumps(dict(PUSH, **{key: value})), key)
    for key in ("version", "url", "md5sum"):
        refused(json.dumps(dict(PUSH, **{key: 2})), key)
    refused(json.dumps(dict(PUSH, file_size="708482")), "file_size")


def test_sizes():
    for size in (0, -1, -(1 << 70)):
        refused(json.dumps(dict(PUSH, file_size=size)), "file_size")
    assert push(file_size=1 << 80).size == 1 << 80


def test_versions():
    assert push(version="v" * 64).version == "v" * 64
    assert push(version="größer").version == "größer"
    # The last character before the halves of pairs, and the first after them.
    assert push(version="\ud7ff\ue000").version == "\ud7ff\ue000"
    assert push(version="../../main").version == "../../main"  # `files` hashes it
    for version in ("", "v" * 65, "a\0b", "a\nb", "\x1f"):
        assert refused(json.dumps(dict(PUSH, version=version)), "version").version is None


def test_md5s():
    for md5 in ("", "0" * 31, "0" * 33, "g" * 32, "0" * 31 + " ", "\0" * 32, "é" * 16, "é" * 32):
        refused(json.dumps(dict(PUSH, md5sum=md5)), "md5sum")


def test_surrogates_go_no_further():
    # Half a pair has no UTF-8: no report could carry it, and no file name could be made of it.
    # Two halves that are no pair are none either.
    for half in ("\\ud800", "\\udfff", "0.2\\udc80", "\\ud800\\udbff", "\\ud800\\ud7ff"):
        payload = json.dumps(PUSH).replace("0.2", half, 1).encode()
        try:
            read(payload)
        except (ValueError, OtaError):
            continue
        raise AssertionError("taken: " + half)


def test_deep_nesting_is_ignored_or_a_value_error():
    for opened, closed in ((b"[", b"]"), (b'{"a":', b"}")):
        for depth in (50, 5000):
            nested = opened * depth + b"1" + closed * depth
            whole = json.dumps(PUSH).encode()[:-1] + b', "task_id": ' + nested + b"}"
            for payload in (nested, whole, opened * depth):
                try:
                    found = read(payload)
                # MicroPython's parser needs no stack for it; CPython's gives up.
                except (ValueError, RuntimeError, MemoryError):
                    continue
                assert found is None or found.echo == {}


def test_keys_given_twice_are_one_push_or_none():
    payload = json.dumps(PUSH).encode()[:-1] + b', "version": 3}'
    refused(payload, "version")


def test_answers():
    answer = {"type": "report_version_rsp", "result_code": 0, "version": "0.2"}
    assert tencent.is_answer(answer, "0.2", None)
    for changed in ({"type": "update_firmware"}, {"version": "0.1"}, {"result_code": 5}):
        assert not tencent.is_answer(dict(answer, **changed), "0.2", None)
