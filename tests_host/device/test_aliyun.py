"""The dialect of Aliyun's IoT Platform: its words, and whole updates in them."""

import json

from clientworld import FakeLink, World, push_of

from ivota import OtaError, aliyun, cloud_sign_in, json_file, message_handler, mqtt_session
from ivota.result_codes import EXPIRED, FAILED, MISMATCH, NOT_FOUND, TIMED_OUT
from support import patched, raises

PROGRESS = "/ota/device/progress/P/d"
INFORM = "/ota/device/inform/P/d"
GET = "/sys/P/d/thing/ota/firmware/get"


class AliyunLink(FakeLink):
    """`sent` has (topic, message)."""

    def publish(self, topic, payload, qos):
        if not self.up:
            return False
        self.sent.append((topic, json.loads(payload)))
        if qos:
            self.waiting = len(self.sent)
        return True


def upgrade_of(data, version="0.2", url="http://h/f", code="1000", **more):
    """What the cloud says of an update; a field given as None is left out."""
    push = json.loads(push_of(data, version, url))
    found = {
        "size": push["file_size"],
        "version": version,
        "url": url,
        "md5": push["md5sum"],
        "sign": push["md5sum"],
        "signMethod": "Md5",
    }
    found.update(more)
    found = {key: value for key, value in found.items() if value is not None}
    return {"code": code, "data": found, "id": 1626969597470, "message": "success"}


def parse(message):
    return message_handler.read(message_handler.load(json.dumps(message)), aliyun)


def steps(link):
    """(step, desc) of each report of progress."""
    said = [message["params"] for topic, message in link.sent if topic == PROGRESS]
    return [(int(params["step"]), params["desc"]) for params in said]


def test_version():
    message = json.loads(aliyun.report_version("1.0.1"))
    assert message["params"] == {"version": "1.0.1"}
    assert 0 <= int(message["id"]) <= 0xFFFFFFFF


def test_each_message_has_an_id_of_its_own():
    ids = [json.loads(aliyun.report_version("1"))["id"] for _ in range(20)]
    assert len(set(ids)) == 20
    with patched(aliyun, _last=0xFFFFFFFF):
        assert json.loads(aliyun.report_version("1"))["id"] == "0"


def test_steps():
    for state, percent, code, message, step, desc in (
        ("downloading", 0, 0, "", "1", "downloading"),
        ("downloading", 57, 0, "", "57", "downloading"),
        ("burning", None, 0, "", "100", "burning"),
        ("done", None, 0, "", "100", "done"),
        ("fail", None, TIMED_OUT, "time_out: stalled", "-2", "time_out: stalled"),
        ("fail", None, NOT_FOUND, "HTTP 404", "-2", "HTTP 404"),
        ("fail", None, EXPIRED, "HTTP 403", "-2", "HTTP 403"),
        ("fail", None, MISMATCH, "md5", "-3", "md5"),
        ("fail", None, FAILED, "not a bundle", "-1", "not a bundle"),
        ("fail", None, FAILED, "flash: OSError 28", "-4", "flash: OSError 28"),
    ):
        text = aliyun.report_progress(state, "0.2", percent, code, message)
        assert json.loads(text)["params"] == {"step": step, "desc": desc}


def test_an_upgrade():
    found = parse(upgrade_of(b"abc", module="default"))
    assert (found.version, found.url, found.size) == ("0.2", "http://h/f", 3)
    assert found.md5 == "900150983cd24fb0d6963f7d28e17f72"
    assert parse(upgrade_of(b"abc", code=200)).same_firmware(found)  # the answer to `ask`
    assert parse(upgrade_of(b"abc", md5=None)).same_firmware(found)  # as older ones say it


def test_what_is_none():
    for message in (
        {},
        {"code": 200, "data": {}},
        {"code": "1000"},
        {"code": "1000", "data": ["x"]},
        upgrade_of(b"abc", code=500),
        upgrade_of(b"abc", code=["1000"]),
        upgrade_of(b"abc", module="MCU"),
        json.loads(push_of(b"abc")),
        [1],
        None,
    ):
        assert parse(message) is None


def test_an_upgrade_that_can_not_be_followed():
    for part, changed in (
        ("md5sum", {"md5": None, "signMethod": "SHA256"}),
        ("md5sum", {"md5": None, "signMethod": None}),
        ("md5sum", {"md5": ["x"]}),
        ("url", {"url": None}),  # over MQTT, or several files
        ("file_size", {"size": "3"}),
        ("version", {"version": ""}),
    ):
        with raises(OtaError, part):
            parse(upgrade_of(b"abc", **changed))


def config(tls):
    return {
        "dialect": "aliyun",
        "product_id": "pk",
        "device_name": "device",
        "device_secret": "secret",
        "mqtt": {"tls": tls},
    }


def test_sign_in():
    # The password by CPython's hmac of "clientIddevicedeviceNamedeviceproductKeypk".
    assert cloud_sign_in.sign_in(config(False)) == (
        "device|securemode=3,signmethod=hmacsha256|",
        "device&pk",
        "86306dee56a66a60780cd6ace8de22cbcbb2a32688a46f4cf0429c7f85099cfe",
    )
    assert cloud_sign_in.sign_in(config(True))[0] == "device|securemode=2,signmethod=hmacsha256|"


def test_a_whole_update():
    with World() as world, patched(mqtt_session, Link=AliyunLink):
        client = world.client(config={"dialect": "aliyun"})
        world.spin(1)
        link = client.link
        assert [topic for topic, _ in link.sent] == [INFORM, GET]
        assert link.sent[0][1]["params"] == {"version": "0.1"}
        assert link.sent[1][1]["method"] == "thing.ota.firmware.get"
        link.inbox.append(json.dumps(upgrade_of(world.data)))
        # The answer to the question brings the same once more, with another URL.
        link.inbox.append(json.dumps(upgrade_of(world.data, url="http://h/again", code=200)))
        world.spin()
        assert steps(link)[0] == (1, "downloading")
        assert steps(link)[-2:] == [(100, "downloading"), (100, "burning")]
        assert len(world.requests) == 1 and len(world.got) == 1
        del link.sent[:]
        client.update_progress("done")
        world.spin()
        assert steps(link) == [(100, "done")]
        assert [m["params"] for topic, m in link.sent if topic == INFORM] == [{"version": "0.2"}]


def test_an_expired_url_is_asked_for_again():
    with World() as world, patched(mqtt_session, Link=AliyunLink):
        client = world.client(config={"dialect": "aliyun"})
        world.answers = [OtaError(EXPIRED, "HTTP 403")]
        client.link.inbox.append(json.dumps(upgrade_of(world.data)))
        world.spin(2)
        assert [topic for topic, _ in client.link.sent][-2:] == [INFORM, GET]
        renewed = upgrade_of(world.data, url="http://h/new", code=200)
        client.link.inbox.append(json.dumps(renewed))
        world.spin()
        assert [url for url, _, _ in world.requests] == ["http://h/f", "http://h/new"]
        assert len(world.got) == 1


def test_what_answers_a_question():
    reply = {"id": "7", "code": 200, "data": {}, "message": "success"}
    assert aliyun.is_answer(reply, "0.1", "7")
    assert aliyun.is_answer(dict(upgrade_of(b"abc", code=200), id="7"), "0.1", "7")
    assert not aliyun.is_answer(dict(upgrade_of(b"abc"), id="7"), "0.1", "7")
    for changed in ({"id": "8"}, {"code": 500}, {"data": None}, {"id": None}):
        assert not aliyun.is_answer(dict(reply, **changed), "0.1", "7")
    assert not aliyun.is_answer(reply, "0.1", None)


def test_a_cloud_of_this_dialect_is_never_ivota():
    """Whatever an answer claims: this dialect has no place for what an ivota cloud learns."""
    with World() as world, patched(mqtt_session, Link=AliyunLink):
        client = world.client(config={"dialect": "aliyun", "hardware": "rev-b"})
        world.spin(1)
        reply = {"id": client.asked, "code": 200, "data": {}, "cloud": "ivota"}
        client.link.inbox.append(json.dumps(reply))
        world.spin(5)
        assert client.state.answered and not client.ivota_cloud


def test_a_trial_waits_for_the_answer_to_a_question():
    trial = {"version": "0.2", "md5sum": "5" * 32, "limits": [3, 10]}
    with World() as world, patched(mqtt_session, Link=AliyunLink):
        json_file.save(world.path + "/state.json", {"trial": trial, "answered": True})
        client = world.client(version="0.2", config={"dialect": "aliyun"})
        link = client.link
        world.spin(5)
        link.inbox.append(json.dumps(upgrade_of(world.data, version="0.3")))
        world.spin(5)
        assert client.state.trial and steps(link) == []
        asked = [message["id"] for topic, message in link.sent if topic == GET][-1]
        link.inbox.append(json.dumps({"id": asked, "code": 200, "data": {}}))
        world.spin(1)
        assert not client.state.trial and (100, "done") in steps(link)


def test_a_failure_is_kept_until_it_is_acknowledged():
    with World() as world, patched(mqtt_session, Link=AliyunLink):
        client = world.client(config={"dialect": "aliyun"})
        world.answers = [OtaError(NOT_FOUND, "HTTP 404")]
        world.spin(1)  # the version and the question are acknowledged
        client.link.acks = False
        client.link.inbox.append(json.dumps(upgrade_of(world.data)))
        world.spin(until=lambda: client.state.outbox)
        again = world.client(config={"dialect": "aliyun"})
        world.spin(1)
        assert steps(again.link) == [(-2, "HTTP 404")]
        assert not world.state.outbox
