"""What the client tells the cloud: order, once, until acknowledged; and what it makes of junk."""

import json
import os

from clientworld import World, push_of

import ivota
from ivota import OtaError, guarded_socket, http_request, json_file, report_queue
from ivota import update as job_module
from ivota import update_client as client_module
from ivota.result_codes import FAILED, TIMED_OUT
from support import data_of, patched, raises


def test_the_version_on_each_connection():
    with World() as world:
        world.client()
        world.spin(1)
        assert world.made.link.sent == [
            (1, {"type": "report_version", "report": {"version": "0.1"}})
        ]
        world.made.link.drop()
        world.made.link.connect()
        world.spin(1)
        assert world.versions() == ["0.1", "0.1"]


class Drawn:
    """Stands for `random`: each draw is the next number."""

    def __init__(self, *numbers):
        self.numbers = list(numbers)

    def getrandbits(self, _count):
        return self.numbers.pop(0)


def intervals(world, count):
    """Return the seconds between the next reports of the version, rounded."""
    found = []
    for _ in range(count):
        start, known = world.clock.now_ms(), len(world.versions())
        world.spin(100000, lambda known=known: len(world.versions()) > known, 100)
        found.append(round((world.clock.now_ms() - start) / 1000))
    return found


def test_each_interval_is_up_to_an_eighth_longer_or_shorter():
    """Boards that lost the same broker do not report in the same second for ever."""
    with World() as world, patched(report_queue, random=Drawn(0, 255, 128, 128)):
        world.client(config={"report_interval_s": 400})
        world.spin(1)
        assert intervals(world, 3) == [349, 450, 400]
    with World() as world, patched(report_queue, random=Drawn(255, 255)):
        client = world.client(config={"report_interval_s": 500000})
        assert client.interval_ms() == 500000000  # more cannot be measured


def test_an_ivota_cloud_sets_the_interval_of_a_session():
    with World() as world, patched(report_queue, random=Drawn(*[128] * 40)):
        client = world.client(config={"report_interval_s": 400})
        world.spin(1)
        world.answer("0.1", cloud="ivota", report_interval_s=30)
        assert intervals(world, 2) == [29, 30]
        for good in (10, 86400):
            world.answer("0.1", cloud="ivota", report_interval_s=good)
            world.spin(1)
            assert client.interval_ms() == good * 1000
        # Without a valid one, the board uses its own configuration.
        for wrong in (9, 86401, 0, -30, 30.0, "30", True, [30], None, 1 << 70):
            world.answer("0.1", cloud="ivota", report_interval_s=30)
            world.answer("0.1", cloud="ivota", report_interval_s=wrong)
            world.spin(1)
            assert client.interval_ms() == 400000
        for ignored in ({}, {"cloud": "other"}):
            world.answer("0.1", cloud="ivota", report_interval_s=30)
            world.answer("0.1", report_interval_s=30, **ignored)
            world.spin(1)
            assert client.interval_ms() == 400000
        world.answer("0.1", cloud="ivota", report_interval_s=30)
        world.answer("0.2", cloud="ivota", report_interval_s=60)  # of another version
        world.spin(1)
        assert client.interval_ms() == 30000
        # The next session may be with another cloud.
        client.link.drop()
        client.link.connect()
        world.spin(1)
        assert client.interval_ms() == 400000


def test_a_trial_reports_as_often_as_before_until_it_is_answered():
    with World() as world, patched(report_queue, random=Drawn(*[255] * 9)):
        trial = {"version": "0.1", "md5sum": "5" * 32, "limits": [3, 10]}
        json_file.save(world.path + "/state.json", {"trial": trial, "answered": True})
        client = world.client(config={"trial": {"confirm": "application"}})
        world.spin(1)
        client.ivota_cloud, client.report_interval_s = True, 3600
        assert intervals(world, 2) == [19, 20]
        world.answer("0.1", cloud="ivota", report_interval_s=3600)
        world.spin(1)
        assert client.trial and client.interval_ms() == 3600 * 1124


def test_an_answer_of_the_cloud_changes_nothing():
    with World() as world:
        world.client()
        answer = {"type": "report_version_rsp", "result_code": 0, "result_msg": "success"}
        world.made.link.inbox.append(json.dumps(answer).encode())
        world.spin(1)
        assert len(world.made.link.sent) == 1


def test_a_report_is_sent_again_after_a_reconnect_until_acknowledged():
    with World() as world:
        client = world.client()
        world.push()
        world.spin()
        client.link.acks = False
        client.update_progress("done")
        for _ in range(3):
            world.spin(1)
            client.link.drop()
            client.link.connect()
        world.spin(1)
        client.link.acks = True
        client.link.ack()
        world.spin(1)
        assert world.finals() == [("done", "0", "")] * 2
        assert world.state.outbox is None
        client.link.drop()
        client.link.connect()
        world.spin(1)
        assert len(world.finals()) == 2


def test_it_stays_in_the_outbox_until_then():
    with World() as world:
        client = world.client()
        world.push()
        world.spin()
        client.link.acks = False
        client.update_progress("done")
        world.spin(1)
        outbox = world.state.outbox
        assert json.loads(outbox)["report"]["progress"]["state"] == "done"
        # The power goes. What runs after it knows nothing but the state file.
        world.client(version="0.2")
        assert world.state.outbox == outbox
        world.spin(1)
        assert world.finals() == [("done", "0", "")]
        assert world.state.outbox is None
        assert json_file.load(world.path + "/state.json").get("outbox") is None


def test_a_failure_survives_a_power_cut_too():
    with World() as world:
        world.answers = [OtaError(FAILED, "no")]
        client = world.client()
        world.spin(1)
        client.link.acks = False
        world.push()
        world.spin(2)
        world.client()
        world.spin(1)
        assert world.finals() == [("fail", "-5", "no")]


def test_an_acknowledgement_of_something_older_clears_nothing():
    with World() as world:
        client = world.client()
        link = client.link
        world.push()
        world.spin()
        link.acks = False
        client.report_version()
        world.spin(0.1)  # the version waits for its acknowledgement
        client.update_progress("done")
        world.spin(0.1)
        assert world.state.outbox
        link.ack()
        assert world.state.outbox
        world.spin(0.1)
        link.ack()
        assert not world.state.outbox
        assert len(world.finals()) == 1


def test_done_comes_before_the_new_version():
    with World() as world:
        client = world.client()
        world.push()
        world.spin()
        world.clear()
        client.update_progress("done")
        world.spin(2)
        kinds = [message["type"] for _, message in client.link.sent]
        assert kinds == ["report_progress", "report_version"]
        assert world.versions() == ["0.2"] and client.version == "0.2"


def test_burning_in_flight_is_not_sent_twice():
    with World() as world:
        client = world.client()
        world.spin(1)
        client.link.acks = False
        world.push()
        world.spin(10, lambda: world.got)
        client.update_progress("done")
        world.spin(0.1)
        client.link.acks = True
        world.spin(2)
        states = [state for state, _ in world.states() if state != "downloading"]
        assert states == ["burning", "done"]


def test_an_application_that_fails_to_burn():
    with World() as world:
        client = world.client()
        world.push()
        world.spin()
        client.update_progress("burning")
        world.spin(1)
        client.update_progress("fail", -5, "the motor is stuck")
        world.spin(1)
        assert world.finals() == [("fail", "-5", "the motor is stuck")]
        assert client.version == "0.1"
        assert world.state.failures[1] == 1


def test_reports_of_an_application_with_nothing_to_burn():
    with World() as world:
        client = world.client()
        for state in ("burning", "done", "fail"):
            client.update_progress(state)
            world.spin(1)
        assert world.states() == []
        for state in ("", "downloading", "DONE", None, 1):
            with raises(ValueError):
                client.update_progress(state)


def test_a_synchronous_application_reports_in_its_callback():
    with World() as world:

        def burn(_firmware):
            world.made.update_progress("done")

        world.client(on_firmware=burn)
        world.push()
        world.spin()
        assert world.finals() == [("done", "0", "")]
        assert world.versions()[-1] == "0.2"


def test_progress_is_not_kept_while_the_link_is_down():
    with World() as world:
        client = world.client()
        world.push()
        world.spin(1, lambda: world.requests)
        client.link.drop()
        world.spin(2)
        client.link.connect()
        world.clear()
        world.spin(7)
        assert "downloading" not in [state for state, _ in world.states()]
        assert "burning" in [state for state, _ in world.states()]
        assert world.got


def test_a_download_goes_on_without_the_broker():
    with World() as world:
        client = world.client()
        world.push()
        world.spin(1, lambda: world.requests)
        client.link.drop()
        world.spin(20)
        assert len(world.got) == 1


def test_superseded_reports_are_dropped():
    with World() as world:
        client = world.client()
        world.spin(1)
        client.link.drop()
        world.clear()
        for _ in range(50):
            client.report_version()
        client.link.connect()
        world.spin(1)
        assert world.versions() == ["0.1"]


def test_the_queue_stays_short_however_long_the_link_is_down():
    with World() as world:
        client = world.client(config={"report_interval_s": 1})
        world.push()
        world.spin()
        client.link.drop()
        client.update_progress("fail", -5, "x")
        world.spin(600, pace_ms=200)
        assert len(client.queue) <= 3


def test_echoes_are_in_every_report():
    with World() as world:
        client = world.client()
        world.push(world.data, fw_type="mcu", task_id=77)
        world.spin()
        client.update_progress("done")
        world.spin()
        reports = [
            message["report"]
            for _, message in client.link.sent
            if message["type"] == "report_progress"
        ]
        assert len(reports) >= 4
        for report in reports:
            assert (report["fw_type"], report["task_id"]) == ("mcu", 77)


def test_the_echo_is_the_last_pushs():
    """Who pushes the same firmware in another task wants that one back."""
    with World() as world:
        client = world.client()
        world.answers = [[world.data[:9000], 50, world.data[9000:]]]
        world.push(world.data, task_id=1)
        world.spin(1, lambda: world.requests)
        world.push(world.data, task_id=2)
        world.spin()
        client.update_progress("done")
        world.spin()
        tasks = [
            message["report"]["task_id"]
            for _, message in client.link.sent
            if message["type"] == "report_progress"
        ]
        assert tasks[0] == 1 and set(tasks[1:]) == {2}


def test_a_push_that_cannot_be_followed_is_answered():
    with World() as world:
        world.client()
        for changed, part in (
            ({"md5sum": "x"}, "md5sum"),
            ({"file_size": True}, "file_size"),
            ({"url": 5}, "url"),
        ):
            world.push(world.data, **changed)
            world.spin(1)
            assert world.finals()[-1][:2] == ("fail", "-5") and part in world.finals()[-1][2]
        assert world.requests == [] and os.listdir(world.path) == []
        assert [event for _, event, _ in world.log] == ["push_refused"] * 3


def test_hostile_urls_end_in_fail_without_a_connection():
    from ivota.http_request import send_request

    with World() as world, patched(http_request, send_request=send_request):
        world.client()
        world.push(world.data, url="http://h/a\r\nX: y")
        world.spin(2)
        assert world.finals()[0][:2] == ("fail", "-5")


def test_junk_is_logged_and_ignored():
    with World() as world:
        world.client()
        junk = [b"", b"\xff\xfe", b"{", b"[]", b"null", b"5", b'"x"', b"{}", b"[" * 3000]
        junk += [b'{"type": "update_firmware"}', b'{"type": "update_firmware", "version": {}}']
        junk += [b'{"type": "update_firmware", "version": "\\ud800"}']
        world.made.link.inbox += junk
        world.spin(5)
        assert not world.made.link.inbox
        assert world.states() == [] and world.requests == []
        assert [entry for entry in world.log if entry[1] == "message_ignored"]


def test_hostile_versions_stay_in_the_folder():
    with World(1000) as world:
        world.client()
        for n, version in enumerate(("../../x", "/etc/x", ".", "..", "a/b", "c" * 64, "ä ö")):
            world.push(world.data, version=version)
            world.spin(1000, lambda n=n: len(world.got) > n, 100)
            assert sorted(os.listdir(world.path)) in (["fw"], ["fw", "state.json"])
            world.made.update_progress("fail")
            world.spin(1)


def test_every_field_hostile_never_ends_a_step():
    values = (
        None,
        True,
        -1,
        1 << 70,
        1.5,
        "",
        "x" * 3000,
        "\0",
        [],
        {},
        [[[[]]]],
        {"a": {"b": 1}},
    )
    with World(1000) as world:
        world.client(config={"retry": {"first_s": 0.001, "job_tries": 0}})
        for key in ("type", "version", "url", "file_size", "md5sum", "user_defined", "task_id"):
            for value in values:
                world.made.link.inbox.append(push_of(world.data, **{key: value}))
                world.spin(0.2)
        assert not world.made.link.inbox


def test_a_failing_flash_never_ends_a_step():
    # Whatever write of a small file fails, the client goes on, and can be told to try again.
    real = json_file.save
    for kind, good in (("/state.json", 0), ("/fw/0.2.json", 0), ("/fw/0.2.json", 1)):
        with World() as world:
            client = world.client()
            world.faults = True

            left = [good]

            def save(path, value, kind=kind, left=left):
                if path.endswith(kind):
                    left[0] -= 1
                    if left[0] < 0:
                        raise OSError(5)
                real(path, value)

            other = data_of(100, 9)
            with patched(json_file, save=save):
                world.answers = [[world.data[:9000], 10**6]]
                world.push()
                world.spin(2)
                world.push(other, version="0.3")
                world.spin(5)
                client.update_progress("done")
                world.spin(5)
            world.answers = []
            client.link.drop()
            client.link.connect()
            world.push(world.data, version="0.4")
            world.spin(60)
            assert world.got[-1].version == "0.4"


def test_leaving_waits_for_the_last_acknowledgement_but_not_long():
    with World() as world:
        client = world.client()
        world.push()
        world.spin()
        client.update_progress("done")
        client.step()
        client.close()
        assert world.finals() == [("done", "0", "")] and world.state.outbox is None
    with World() as world:
        client = world.client()
        world.spin(1)
        client.link.acks = False
        client.report_version()
        client.step()
        start = world.clock.now_ms()
        fed = []
        with patched(guarded_socket.hooks, feed=lambda: fed.append(world.clock.now_ms())):
            client.close()
        assert 5000 <= world.clock.now_ms() - start <= 5100
        assert max(b - a for a, b in zip([start] + fed, fed)) <= 500  # a watchdog
        assert client.link.closed == 1 and client.queue


def test_secrets_are_in_no_log_and_no_repr():
    with World() as world:
        world.answers = [OtaError(TIMED_OUT, "HTTP 500", True)] * 10
        client = world.client()
        world.push()
        world.spin(60, pace_ms=50)
        assert world.log
        text = str(world.log) + repr(client) + str(client) + repr(client.link)
        text += json.dumps(client.link.sent)
        assert "hunter2" not in text


def test_no_log_is_needed():
    with World() as world:
        client = world.client(quiet=True)
        client.link.inbox.append(b"junk")
        world.push()
        world.spin()
        assert world.got and world.log == []


def test_a_push_waits_for_the_application_to_report_what_it_burns():
    with World() as world:
        client = world.client()
        world.push()
        world.spin()
        assert len(world.got) == 1
        world.push(world.data, version="0.3")
        world.spin(5)
        assert len(world.got) == 1
        client.update_progress("done")
        world.spin()
        assert ("done", "0", "") in world.finals()
        assert [firmware.version for firmware in world.got] == ["0.2", "0.3"]


def test_an_application_that_never_reports_does_not_stop_updates_for_ever():
    with World() as world:
        world.client()
        world.push()
        world.spin()
        world.push(world.data, version="0.3")
        world.clock.advance_ms(600 * 1000)
        world.spin()
        assert [firmware.version for firmware in world.got] == ["0.2", "0.3"]


def test_what_the_hooks_raise_ends_the_update_and_not_the_client():
    def broken(*_arguments):
        raise RuntimeError("a bug of the application")

    with World() as world:
        client = world.client(defer=broken)
        client.on_failure = broken
        world.push()
        world.spin()
        state, code, message = world.finals()[0]
        assert (state, code) == ("fail", "-5")
        assert "a bug of the application" in message
        assert "on_failure" in [event for _, event, _ in world.log]
        assert len(world.finals()) == 1


def test_without_memory_it_is_tried_again():
    with World() as world:
        world.client()
        whole = world.request
        tries = []

        def short(*arguments):
            tries.append(1)
            if len(tries) == 1:
                raise MemoryError
            return whole(*arguments)

        with patched(http_request, send_request=short):
            world.push()
            world.spin(5)
        assert len(world.got) == 1 and len(tries) == 2


def test_a_report_goes_out_although_there_is_no_memory_to_keep_it():
    real = json_file.save
    broken = []

    def save(path, value):
        if path.endswith("/state.json") and broken:
            broken.clear()
            raise MemoryError("no room")
        real(path, value)

    def burns(_firmware):
        broken.append(1)
        raise MemoryError("no room")

    with World() as world:
        client = world.client(on_firmware=burns)
        with patched(json_file, save=save):
            world.push()
            world.spin(5)
        assert world.finals() == [("fail", "-5", "MemoryError no room")]
        assert client.job is None and not client.queue and not broken
        client.on_firmware = world.got.append
        world.push()
        world.spin(60)
        assert len(world.got) == 1


def test_no_memory_even_to_say_why_is_said_without_it():
    """A bundle is read by code: where that has no memory, its modules seem not to be there."""
    whole = client_module.once

    for fails in (MemoryError, ImportError):
        for missing in ("update", "exception_to_error", "result_report", "failure_handler"):

            def once(name, fails=fails, missing=missing):
                if name == missing:
                    raise fails("no " + name)
                return whole(name)

            def burns(_firmware):
                raise MemoryError("no room")

            with World() as world:
                client = world.client(on_firmware=burns)
                with patched(client_module, once=once), patched(job_module, once=once):
                    world.push()
                    world.spin(5)
                assert world.finals() == [("fail", "-5", "no heap left")], world.finals()
                assert "no_heap" in [event for _, event, _ in world.log]
                assert client.job is None and client.burning is None
                client.on_firmware = world.got.append
                world.push()
                world.spin(60)
                assert len(world.got) == 1


def test_a_folder_in_the_firmware_directory_is_left_alone():
    with World() as world:
        world.client()
        os.mkdir(world.path + "/fw")
        os.mkdir(world.path + "/fw/mine")
        world.push()
        world.spin()
        assert len(world.got) == 1
        assert sorted(os.listdir(world.path + "/fw")) == ["0.2.bin", "mine"]


# The log


def test_the_last_updates_events_are_kept():
    with World() as world:
        client = world.client()
        world.spin(1)
        assert client.events == []  # no update yet
        world.push()
        world.spin()
        size = len(world.data)
        assert client.events[0] == "update size=%d version=0.2" % size
        assert client.events[-1] == "handed_over version=0.2"
        kept = len(client.events)
        client.log("info", "connected")
        assert len(client.events) == kept
        client.update_progress("fail")
        world.push(world.data, version="0.3")
        world.spin()
        assert client.events[0].endswith("version=0.3")


def test_at_most_two_kib_of_events_are_kept_the_oldest_go():
    with World() as world:
        client = world.client(quiet=True)
        world.answers = [[1 << 30]]
        world.push()
        world.spin(1)
        for i in range(200):
            client.log("info", "connecting", host="broker%d" % i, port=1883)
        assert sum(len(event) for event in client.events) <= 2048
        assert client.events[-1] == "connecting host=broker199 port=1883"
        client.log("info", "connecting", host="x" * 5000, port=1)
        assert max(len(event) for event in client.events) <= 200


def test_a_failure_says_what_was_tried_before():
    with World() as world:
        world.client()
        world.answers = [OtaError(-1, why, True) for why in ("stall", "reset", "stall")]
        world.answers.append(OtaError(-2, "HTTP 404"))
        world.push()
        world.spin(600)
        assert world.finals() == [("fail", "-2", "HTTP 404 (after 2x stall, 1x reset)")]


def test_what_was_tried_is_said_in_bounds():
    with World() as world:
        world.client(config={"retry": {"first_s": 0.001, "most_s": 0.001, "job_tries": 40}})
        world.answers = [OtaError(-1, "%d " % i + "y" * 100, True) for i in range(30)]
        world.answers.append(OtaError(-2, "HTTP 404"))
        world.push()
        world.spin(600)
        assert 200 < len(world.finals()[0][2]) <= 220


# A push without effect


def test_an_ivota_cloud_learns_why_a_push_has_no_effect():
    unreadable = (b"?", b'{"type": "update_firmware"}', push_of(b"abc", version="\0"))
    for cloud in ("ivota", None):
        with World() as world:
            client = world.client()
            world.answer("0.1", cloud=cloud)
            world.spin(1)
            for payload in unreadable:
                client.link.inbox.append(payload)
                world.spin(1)
            client.on_skipped(5000)
            world.spin(1)
            said = [notice["message"] for notice in world.notices()]
            if not cloud:
                assert said == []
                continue
            assert len(said) == 4 and "not JSON" in said[0]
            assert "version" in said[1] and "version" in said[2]
            assert said[3] == "the message has 5000 bytes, but mqtt.max_message_bytes is 4096"
            # Whether the next session's cloud is one is not known before it answers.
            client.link.drop()
            client.link.connect()
            client.link.inbox.append(b"?")
            world.spin(1)
            assert len(world.notices()) == 4


def test_an_ivota_cloud_learns_what_the_board_is():
    """Once at the start without waiting, and with all later reports; no other cloud does. The
    same for a reset by the watchdog."""

    def reports(world):
        return [m["report"] for _, m in world.made.link.sent if m["type"] == "report_version"]

    # A small heap has no room for the copies of a long URL.
    for cloud, roomy, most in (("ivota", True, 4096), ("ivota", False, 1280), (None, True, 0)):
        with World() as world, patched(ivota, roomy=None):
            client = world.client(config={"hardware": "rev-b", "report_interval_s": 260})
            ivota.roomy = roomy
            client.application, client.after_watchdog, client.chip_id = "pump", True, 5
            first, told = {"version": "0.1"}, {"version": "0.1"}
            if cloud:
                told.update({"application": "pump", "hardware": "rev-b"})
                told.update({"max_message_bytes": most, "chip_id": 5})
            world.spin(1)
            world.answer("0.1", cloud=cloud)
            world.spin(1)
            assert reports(world) == ([first, told] if cloud else [first])
            world.answer("0.1", cloud=cloud)
            world.spin(300)
            assert reports(world)[1:] == ([told] * 2 if cloud else [told])
            reset = {"message": "the watchdog reset the board"}
            assert world.notices() == ([reset] if cloud else [])
            # The next session may be with another cloud; nothing is repeated at once.
            client.link.drop()
            client.link.connect()
            world.spin(1)
            world.answer("0.1", cloud=cloud)
            world.spin(1)
            assert reports(world)[-1] == first
    with World() as world:  # the chip alone is reason enough: 0 is the ESP32
        world.client().chip_id = 0
        world.answer("0.1", cloud="ivota")
        world.spin(1)
        assert reports(world)[-1]["chip_id"] == 0
    with World() as world:  # nothing is known
        world.client()
        world.answer("0.1", cloud="ivota")
        world.spin(1)
        assert reports(world) == [{"version": "0.1"}]


def test_an_ivota_cloud_learns_what_waits_and_for_how_long():
    with World() as world:
        patient = []
        client = world.client(defer=lambda what, push: patient.pop(0) if patient else 0)
        world.answer("0.1", cloud="ivota")
        patient += [40, 5]
        for _ in range(2):  # each push is told
            world.push()
            world.spin(2)
        first, second = world.notices()
        assert first == {
            "message": "the application defers the download",
            "version": "0.2",
            "wait_s": "40",
        }
        assert 30 < int(second.pop("wait_s")) < 40  # what is left of it
        first.pop("wait_s")
        assert second == first
        world.spin(60, pace_ms=100)
        assert len(world.notices()) == 2 and len(world.got) == 1
        # Until the application has reported on it, the next one waits.
        world.push(world.data, version="0.3")
        world.spin(2)
        assert world.notices()[2:] == [
            {"message": "the application has not reported a result for 0.2", "version": "0.3"}
        ]
        # What is under way, or runs, needs no word.
        client.update_progress("done")
        world.spin(2)
        world.clear()
        for version in ("0.3", "0.2"):
            world.push(world.data, version=version)
        world.spin(2)
        assert world.notices() == []


def test_an_ivota_cloud_learns_of_rests():
    with World(1000) as world:
        client = world.client()
        world.answer("0.1", cloud="ivota")
        world.spin(1)
        client.state.failures = [json.loads(push_of(world.data))["md5sum"], 5]
        world.push()
        world.spin(2)
        assert world.notices() == [
            {"message": "in back-off after 5 failures", "version": "0.2", "wait_s": "32"}
        ]
        world.clear()
        client.state.worn_until = world.clock.time() + 1000
        world.push(data_of(1000, 9), version="2")
        world.spin(2)
        last = world.notices()[-1]
        assert last["version"] == "2" and 0 < int(last["wait_s"]) <= 41
        assert last["message"] == "in back-off: 24 updates were started within a day"


def test_an_ivota_cloud_learns_of_a_trial():
    with World() as world:
        trial = {"version": "0.1", "md5sum": "5" * 32, "limits": [3, 10]}
        json_file.save(world.path + "/state.json", {"trial": trial})
        client = world.client(config={"trial": {"confirm": "application"}})
        world.answer("0.1", cloud="ivota")
        world.push()
        world.spin(2)
        assert world.notices() == [{"message": "a trial is still running", "version": "0.2"}]
        client.confirm()
        world.spin(5)
        assert world.got and len(world.notices()) == 1


def test_a_refused_push_does_not_take_the_place_of_what_is_kept():
    with World() as world:
        client = world.client()
        world.push()
        world.spin()
        client.link.acks = False
        client.update_progress("done")
        world.push(world.data, version="0.3", md5sum="x")
        world.spin(1)
        client.link.acks = True
        client.link.ack()
        world.spin(2)
        assert sorted(state for state, _, _ in world.finals()) == ["done", "fail"]


SKIP_ON = {
    "test_a_version_beyond_the_bmp_in_escapes": ("cpython", "its texts have no UTF-8 there"),
}


def beyond_the_bmp(written):
    with World() as world:
        client = world.client()
        payload = push_of(world.data, version="BMP").replace(b"BMP", written)
        client.link.inbox.append(payload)
        world.spin()
        version = "\ud7ff\U00010000\U0010ffff\U0001f600"
        assert [firmware.version for firmware in world.got] == [version]
        client.update_progress("done")
        world.spin()
        assert [message["report"]["version"] for _, message in client.link.sent][-2:] == (
            [version] * 2
        )
        assert world.finals() == [("done", "0", "")]


def test_a_version_beyond_the_bmp():
    beyond_the_bmp("\ud7ff\U00010000\U0010ffff\U0001f600".encode())


def test_a_version_beyond_the_bmp_in_escapes():
    beyond_the_bmp(b"\\ud7ff\\ud800\\udc00\\udbff\\udfff\\ud83d\\ude00")
