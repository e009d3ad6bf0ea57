"""The state file: each change is one atomic write, and junk in it harms nothing."""

import sys

from bundles import bundle
from clientworld import World, push_of

from ivota import OtaError, activation, failure_record, json_file, result_report, trial_rollback
from ivota import state as state_file
from ivota import trial as trials
from ivota.state import load
from support import patched, raises, tmp_dir, write_file

MD5S = ["%032x" % n for n in range(10)]
TRIAL = {"version": "0.2", "md5sum": MD5S[0], "limits": [3, 10]}


class Saves:
    """Counts the writes of a call and keeps what the last one wrote."""

    def __init__(self):
        self.count = 0

    def __call__(self, path, value):
        self.count += 1
        self.value = value
        real_save(path, value)


real_save = json_file.save


def one_write(method, *args):
    saves = Saves()
    with patched(json_file, save=saves):
        method(*args)
    assert saves.count == 1
    return saves.value


def test_nothing_there_is_the_factory_state():
    with tmp_dir() as path:
        state = load(path + "/s")
        for key in ("active", "previous", "trial", "ended", "outbox"):
            assert getattr(state, key) is None, key
        assert state.rejected == state.failures == []
        assert state.sequence == 0
        assert json_file.load(path + "/s") is None


def test_what_another_release_has_noted_stays():
    """Through both readers and writers of the file, whichever is the older one."""
    import bundlefs

    with tmp_dir() as path:
        mine = {"sequence": 7, "outbox": None, "later": {"a": [1, None]}, "none": None}
        json_file.save(path + "/s", mine)
        with patched(bundlefs, _STATE=path + "/s"):
            state = load(path + "/s")
            state.starts = 2
            state_file.save(state)
            kept = dict(bundlefs.load(), sequence=8)
            bundlefs.save(kept)
        again = load(path + "/s")
        assert (again.sequence, again.starts) == (8, 2)
        state_file.save(again)
        found = json_file.load(path + "/s")
        assert (found["later"], found["none"]) == (
            {"a": [1, None]},
            None,
        ) and "outbox" not in found


def test_activate_is_one_write():
    with tmp_dir() as path:
        state = load(path + "/s")
        state.active = "/firmware/0.1.bin"
        value = one_write(activation.activate, state, "/firmware/0.2.bin", TRIAL)
        assert value["active"] == "/firmware/0.2.bin"
        assert value["previous"] == "/firmware/0.1.bin"
        assert value["trial"] == TRIAL
        assert "starts" not in value and "power_boots" not in value
        again = load(path + "/s")
        assert (again.active, again.previous) == ("/firmware/0.2.bin", "/firmware/0.1.bin")
        assert again.trial == TRIAL


def test_the_md5_of_what_runs_stays_in_the_file():
    with tmp_dir() as path:
        state = load(path + "/s")
        assert one_write(activation.activate, state, "/a.bin", TRIAL)["sums"] == {
            "/a.bin": MD5S[0]
        }
        trials.confirm(state, "DONE")
        state = load(path + "/s")
        assert one_write(state_file.sent, state)["sums"] == {"/a.bin": MD5S[0]}
        both = {"/a.bin": MD5S[0], "/b.bin": MD5S[1]}
        trial = dict(TRIAL, md5sum=MD5S[1])
        assert one_write(activation.activate, state, "/b.bin", trial)["sums"] == both
        assert one_write(trial_rollback.roll_back, state, "why")["sums"] == both
        value = one_write(activation.activate, state, "/c.bin", dict(TRIAL, md5sum=MD5S[2]))
        assert value["sums"] == {"/a.bin": MD5S[0], "/c.bin": MD5S[2]}


def test_confirm_is_one_write_with_done_in_the_outbox():
    with tmp_dir() as path:
        state = load(path + "/s")
        result_report.post(state, "old", MD5S[1], "crashed")
        result_report.post(state, "old", MD5S[2])
        activation.activate(state, "/firmware/0.2.bin", TRIAL)
        value = one_write(trials.confirm, state, "DONE")
        assert value["outbox"] == "DONE"
        again = load(path + "/s")
        assert again.active == "/firmware/0.2.bin"
        assert again.trial is None
        assert again.failures == []
        assert again.rejected == []


def test_roll_back_is_one_write():
    with tmp_dir() as path:
        state = load(path + "/s")
        state.active = "/firmware/0.1.bin"
        activation.activate(state, "/firmware/0.2.bin", TRIAL)
        one_write(trial_rollback.roll_back, state, "not in time")
        again = load(path + "/s")
        assert (again.active, again.previous, again.trial) == ("/firmware/0.1.bin", None, None)
        assert again.ended == dict(TRIAL, why="not in time")


def test_rolling_back_to_the_factory_package():
    with tmp_dir() as path:
        state = load(path + "/s")
        activation.activate(state, "/firmware/0.2.bin", TRIAL)
        trial_rollback.roll_back(state, "x")
        again = load(path + "/s")
        assert again.active is None
        assert again.ended["version"] == "0.2"


def test_post_and_sent_are_one_write_each():
    with tmp_dir() as path:
        state = load(path + "/s")
        state.ended = dict(TRIAL, why="x")
        value = one_write(result_report.post, state, "FAIL", MD5S[0])
        assert value["outbox"] == "FAIL"
        assert "ended" not in value
        assert load(path + "/s").outbox == "FAIL"
        value = one_write(state_file.sent, state)
        assert "outbox" not in value
        assert load(path + "/s").outbox is None


def test_failures_count_for_one_firmware():
    with tmp_dir() as path:
        state = load(path + "/s")
        assert failure_record.count(state, MD5S[0]) == 0
        for n in (1, 2, 3):
            result_report.post(state, "FAIL", MD5S[0])
            assert failure_record.count(load(path + "/s"), MD5S[0]) == n
        assert failure_record.count(state, MD5S[1]) == 0
        result_report.post(state, "FAIL", MD5S[1])
        assert failure_record.count(state, MD5S[1]) == 1
        assert failure_record.count(state, MD5S[0]) == 0


def test_done_counts_no_failure():
    with tmp_dir() as path:
        state = load(path + "/s")
        result_report.post(state, "DONE", None)
        assert state.failures == []
        assert state.rejected == []


def test_the_last_four_rejected_are_remembered():
    with tmp_dir() as path:
        state = load(path + "/s")
        for n in range(6):
            one_write(result_report.post, state, "FAIL", MD5S[n], "reason %d" % n)
        again = load(path + "/s")
        assert len(again.rejected) == 4
        for n in range(6):
            assert failure_record.reason(again, MD5S[n]) == ("reason %d" % n if n >= 2 else None)


def test_rejected_again_is_remembered_once_with_the_newest_reason():
    with tmp_dir() as path:
        state = load(path + "/s")
        for n in (0, 1, 2, 3, 1):
            result_report.post(state, "FAIL", MD5S[n], "reason %d" % len(state.rejected))
        assert [entry[0] for entry in state.rejected] == [MD5S[0], MD5S[2], MD5S[3], MD5S[1]]
        result_report.post(state, "FAIL", MD5S[4], "x")
        assert failure_record.reason(state, MD5S[0]) is None
        assert failure_record.reason(state, MD5S[1]) == "reason 4"


def test_rejecting_ends_the_count():
    with tmp_dir() as path:
        state = load(path + "/s")
        result_report.post(state, "FAIL", MD5S[0])
        result_report.post(state, "FAIL", MD5S[0], "crashed")
        assert failure_record.count(load(path + "/s"), MD5S[0]) == 0


def test_starts_of_a_trial_survive_a_save():
    # Else a version that crashes after each report it sends would start for ever.
    with tmp_dir() as path:
        state = load(path + "/s")
        activation.activate(state, "/firmware/0.2.bin", TRIAL)
        kept = json_file.load(path + "/s")
        kept.update(starts=2, power_boots=5, outbox="FAIL")
        json_file.save(path + "/s", kept)
        value = one_write(state_file.sent, load(path + "/s"))
        assert (value["starts"], value["power_boots"]) == (2, 5)
        value = one_write(trials.confirm, load(path + "/s"), "DONE")
        assert "starts" not in value and "power_boots" not in value
        json_file.save(path + "/s", dict(value, starts=2, power_boots=5))
        state = load(path + "/s")
        value = one_write(activation.activate, state, "/firmware/0.3.bin", TRIAL)
        assert "starts" not in value and "power_boots" not in value


def test_all_that_is_known_survives_a_save():
    known = {
        "active": "/a.bin",
        "previous": "/b.bin",
        "outbox": "DONE",
        "trial": TRIAL,
        "ended": dict(TRIAL, why="x"),
        "sums": {"/a.bin": MD5S[0]},
        "rejected": [[MD5S[1], "crashed"]],
        "failures": [MD5S[2], 3],
        "tries": [MD5S[3], 4],
        "sequence": 41,
        "starts": 2,
        "power_boots": 5,
        "worn_until": 1700000000,
    }
    with tmp_dir() as path:
        json_file.save(path + "/s", known)
        state_file.save(load(path + "/s"))
        assert json_file.load(path + "/s") == known


def test_values_of_other_types_are_as_if_missing():
    wrong = (None, True, 5, -1.5, "x", [], [1], [[]], {}, {"a": 1}, [["x"]], [[1, 2]], ["x", "y"])
    with tmp_dir() as path:
        for key in (
            "active",
            "previous",
            "trial",
            "ended",
            "outbox",
            "sums",
            "rejected",
            "failures",
            "tries",
            "sequence",
            "starts",
            "power_boots",
            "worn_until",
        ):
            for value in wrong:
                json_file.save(path + "/s", {key: value})
                state = load(path + "/s")
                found = getattr(state, key)
                if key in ("active", "previous", "outbox"):
                    assert found is None or found == value == "x"
                elif key in ("trial", "ended", "sums"):
                    assert found is None or found == value == {"a": 1} or found == {}
                elif key in ("rejected", "failures", "tries"):
                    assert found == (value if isinstance(value, list) else [])
                else:
                    assert found in (0, 5)
                assert failure_record.count(state, MD5S[0]) == 0
                assert failure_record.reason(state, MD5S[0]) is None
                result_report.post(state, "FAIL", MD5S[0], "why")
                result_report.post(state, "FAIL", MD5S[0])


def test_a_count_is_a_number():
    with tmp_dir() as path:
        for failures, number in (
            ([MD5S[0], 3], 3),
            ([MD5S[0], "x", 3], 3),
            ([MD5S[0], 3, "x"], 0),
            ([MD5S[0]], 0),
            ([MD5S[1], 3], 0),
        ):
            json_file.save(path + "/s", {"failures": failures})
            assert failure_record.count(load(path + "/s"), MD5S[0]) == number


def test_junk_is_the_factory_state():
    with tmp_dir() as path:
        for junk in (b"", b"{", b"[]", b"\xff\xff", b"null"):
            write_file(path + "/s", junk)
            assert load(path + "/s").active is None


def test_one_that_does_not_fit_the_heap():
    """It is there: a bundle's start must fail, and not write it anew without what it has."""

    def load_none(_path, _ours):
        raise MemoryError

    with tmp_dir() as path:
        result_report.post(load(path + "/s"), "FAIL", MD5S[0], "crashed")
        with patched(json_file, load=load_none):
            assert load(path + "/s").rejected == []  # of the factory package, the last there is
            sys.path.append("/app")
            try:
                with raises(MemoryError):
                    load(path + "/s")
            finally:
                sys.path.remove("/app")
        assert load(path + "/s").rejected


def test_nothing_is_read_to_write():
    """What is in the file goes on in memory, so that a write never depends on a second look."""

    def load_none(*_args):
        raise MemoryError

    with tmp_dir() as path:
        state = load(path + "/s")
        activation.activate(state, "/a.bin", TRIAL)
        state = load(path + "/s")
        with patched(json_file, load=load_none):
            value = one_write(trials.confirm, state, "DONE")
            assert value["sums"] == {"/a.bin": MD5S[0]}
            value = one_write(activation.activate, state, "/b.bin", dict(TRIAL, md5sum=MD5S[1]))
        assert value["sums"] == {"/a.bin": MD5S[0], "/b.bin": MD5S[1]}
        assert load(path + "/s").sums == value["sums"]


def test_a_failing_flash_is_an_os_error():
    with tmp_dir() as path:
        state = load(path + "/none/s")
        with raises(OSError):
            state_file.sent(state)


def test_what_could_not_be_made_active_is_not_so_by_the_next_write():
    """A report that it failed would else be written beside a trial of it."""
    for fails in (OSError(5), MemoryError()):

        def save(_path, _value, fails=fails):
            raise fails

        with tmp_dir() as path:
            state = load(path + "/s")
            activation.activate(state, "/a.bin", TRIAL)
            trials.confirm(state, "DONE")
            with patched(json_file, save=save), raises(type(fails)):
                activation.activate(state, "/b.bin", dict(TRIAL, md5sum=MD5S[1]))
            value = one_write(result_report.post, state, "FAIL", MD5S[1])
            assert value["active"] == "/a.bin" and value["outbox"] == "FAIL"
            assert value["sums"] == {"/a.bin": MD5S[0]}
            assert "trial" not in value and "previous" not in value


def test_a_refusal_of_one_name_alone():
    with tmp_dir() as path:
        state = load(path + "/s")
        one_write(result_report.post, state, "FAIL", MD5S[0], "of another version", "0.2")
        one_write(result_report.post, state, "FAIL", MD5S[1], "crashed")
        for each in (state, load(path + "/s")):
            assert failure_record.reason(each, MD5S[0], "0.2") == "of another version"
            assert failure_record.reason(each, MD5S[0], "0.3") is None
            assert failure_record.reason(each, MD5S[0]) is None
            assert failure_record.reason(each, MD5S[1], "0.2") == "crashed"
        for junk in ([], [MD5S[2]], [MD5S[2], "why", "0.2", "more"], [MD5S[2], "why", 5], None):
            state.rejected = [junk]
            assert failure_record.reason(state, MD5S[2], "0.2") is None


def test_the_number_rises_with_a_confirmation():
    with tmp_dir() as path:
        state = load(path + "/s")
        activation.activate(state, "/firmware/0.2.bin", dict(TRIAL, sequence=5))
        assert load(path + "/s").sequence == 0
        trial_rollback.roll_back(state, "no")
        assert load(path + "/s").sequence == 0
        activation.activate(state, "/firmware/0.2.bin", dict(TRIAL, sequence=4))
        assert one_write(trials.confirm, state, "DONE")["sequence"] == 4
        # Without keys nothing has a number, and the one that was reached stays.
        activation.activate(state, "/firmware/0.3.bin", TRIAL)
        assert one_write(trials.confirm, state, "DONE")["sequence"] == 4


def test_no_push_makes_a_state_too_long_to_be_read():
    """What is longer than a reader takes counts as missing, and with it the number confirmed."""
    for text in (b"\1", b'\\"', b"\\u0001", "\xfc".encode(), b"7"):
        with World() as world:
            json_file.save(world.path + "/state.json", {"active": "/a.bin", "sequence": 7})
            client = world.client()
            world.answers = [OtaError(-2, "HTTP 404")]
            payload = push_of(world.data, task_id="TASK")
            room = 4000 - len(payload)  # all that the link takes is 4096, with the topic
            payload = payload.replace(b"TASK", text * (room // len(text)))
            if text == b"7":
                payload = payload.replace(b'"7', b"7").replace(b'7"', b"7")
            client.link.acks = False
            client.link.inbox.append(payload)
            world.spin(5)
            again = load(world.path + "/state.json")
            assert (again.active, again.sequence) == ("/a.bin", 7), text
            # A parser may take none of it.
            assert again.outbox or not world.requests, text


def test_no_reason_makes_a_state_too_long_to_be_read():
    data = bundle([("app.py", b"")], version="x" * 900)
    with World(data=data) as world:
        json_file.save(world.path + "/state.json", {"active": "/a.bin", "sequence": 7})
        client = world.client()
        client.on_firmware = None
        client.link.acks = False
        world.push()
        world.spin(5)
        again = load(world.path + "/state.json")
        assert (again.active, again.sequence) == ("/a.bin", 7)
        assert "the bundle can't be used: it has version xxx" in again.outbox


def test_no_message_of_an_application_makes_a_state_too_long_to_be_read():
    with World() as world:
        json_file.save(world.path + "/state.json", {"active": "/a.bin", "sequence": 7})
        client = world.client()
        world.push()
        world.spin(5, lambda: world.got)
        client.link.acks = False
        client.update_progress("fail", -5, "the motor is jammed" + "!" * 20000)
        world.spin(1)
        again = load(world.path + "/state.json")
        assert (again.active, again.sequence) == ("/a.bin", 7)
        assert "the motor is jammed!!!" in again.outbox
