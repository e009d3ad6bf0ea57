"""A new version confirms itself once the cloud is reached, or is given up in time."""

from clientworld import World
from targets import saves

from ivota import app_crash, failure_record, json_file, trial_rollback
from ivota import state as state_file
from support import patched

TRIAL = {"version": "0.2", "md5sum": "5" * 32, "limits": [3, 10], "echo": {"task_id": 7}}


def trial_client(world, connect=True, answered=False, **config):
    state = {"active": "/firmware/0.2.bin", "previous": "/firmware/0.1.bin", "trial": TRIAL}
    if answered:
        state["answered"] = True
    json_file.save(world.path + "/state.json", state)
    return world.client(version="0.2", connect=connect, config=config)


def saved(world):
    return json_file.load(world.path + "/state.json")


def test_confirmed_when_the_report_is_acknowledged():
    with World() as world:
        client = trial_client(world)
        client.link.acks = False
        world.spin(5)
        assert world.versions() == ["0.2"] and saved(world)["trial"]
        assert world.finals() == []
        client.link.ack()
        world.spin(1)
        assert "trial" not in saved(world)
        assert saved(world)["active"] == "/firmware/0.2.bin"
        assert world.finals() == [("done", "0", "")]
        assert client.link.sent[-1][1]["report"]["task_id"] == 7


def test_a_cloud_that_answers_has_to_answer_the_new_version():
    with World() as world:
        trial_client(world, answered=True)
        world.spin(30, pace_ms=100)
        world.push(world.data, version="0.3")  # the cloud speaks, but does not answer
        world.answer("0.1")
        world.answer("0.2", result_code=1)
        world.spin(5, pace_ms=100)
        assert saved(world)["trial"] and world.finals() == []
        world.answer("0.2")
        world.spin(1)
        assert "trial" not in saved(world) and saved(world)["answered"]
        assert world.finals() == [("done", "0", "")]


def test_an_answer_may_be_lost():
    with World() as world:
        trial_client(world, answered=True)
        world.spin(65, pace_ms=100)
        assert world.versions() == ["0.2"] * 4
        world.answer("0.2")
        world.spin(1)
        world.clear()
        world.spin(65, pace_ms=100)
        assert world.versions() == []
    with World() as world:
        trial_client(world, answered=True, report_interval_s=5)
        world.spin(17.3, pace_ms=100)
        assert world.versions() == ["0.2"] * 4


def test_no_answer_gives_the_version_up_and_rejects_nothing():
    with World() as world:
        trial_client(world, answered=True, trial={"limit_s": 60})
        world.spin(61, pace_ms=100)
        assert world.made.restart and saved(world)["active"] == "/firmware/0.1.bin"
        world.client(version="0.1")
        world.spin(1)
        assert world.finals()[0][:2] == ("fail", "-5")
        assert world.finals()[0][2].endswith("the cloud did not answer")
        assert failure_record.reason(world.state, "5" * 32) is None and saved(world)["answered"]


def test_the_broker_may_be_enough():
    """For the move to a cloud that never answers: nor has it to answer the version after."""
    with World() as world:
        trial_client(world, answered=True, trial={"confirm": "broker"})
        world.spin(1)
        assert world.finals() == [("done", "0", "")]
        assert "answered" not in saved(world)
        world.answer("0.2")
        world.spin(1)
        assert saved(world)["answered"]


def test_the_application_and_the_cloud():
    with World() as world:
        client = trial_client(world, answered=True, trial={"confirm": "application"})
        client.confirm()
        world.spin(10)
        assert saved(world)["trial"] and world.finals() == []
        world.answer("0.2")
        world.spin(1)
        assert world.finals() == [("done", "0", "")]


def test_the_first_answer_is_noted_once():
    with World() as world:
        world.client()
        world.spin(1)

        def answers():
            for version in ("0.2", "0.1", "0.1"):
                world.client(version="0.1")
                world.answer(version)
                world.spin(1)

        assert saves(answers) == 1 and saved(world) == {"answered": True}
        # A version that knows nothing of it drops the key: the next answer brings it back.
        json_file.save(world.path + "/state.json", {})
        world.client(version="0.1")
        world.answer("0.1")
        world.spin(1)
        assert saved(world) == {"answered": True}


def test_done_is_on_flash_before_it_is_sent():
    with World() as world:
        client = trial_client(world)
        client.link.acks = False
        world.spin(1)
        client.link.ack()
        world.spin(1)
        assert world.finals() and "done" in saved(world)["outbox"]
        client.link.ack()
        world.spin(1)
        assert "outbox" not in saved(world)


def test_done_survives_a_power_cut():
    with World() as world:
        client = trial_client(world)
        client.link.acks = False
        world.spin(1)
        client.link.ack()
        world.client(version="0.2")
        world.spin(2)
        assert world.finals() == [("done", "0", "")]
        assert world.versions()[0] == "0.2"


def test_the_application_may_be_the_one_that_confirms():
    with World() as world:
        client = trial_client(world, trial={"confirm": "application"})
        world.spin(10)
        assert saved(world)["trial"] and world.finals() == []
        client.confirm()
        world.spin(1)
        assert "trial" not in saved(world)
        assert world.finals() == [("done", "0", "")]


def test_the_application_alone_is_not_enough():
    with World() as world:
        client = trial_client(world, False, trial={"confirm": "application"})
        client.confirm()
        world.spin(5)
        assert saved(world)["trial"]


def test_only_the_version_on_trial_confirms_it():
    """Where boot.py could not start the bundle another one runs, and reaches the cloud."""
    with World() as world:
        trial_client(world, trial={"limit_s": 60})
        client = world.client(version="0", config={"trial": {"limit_s": 60}})
        world.spin(59, pace_ms=100)
        assert world.versions() and saved(world)["trial"] and world.finals() == []
        world.spin(2, pace_ms=100)
        assert client.restart and saved(world)["active"] == "/firmware/0.1.bin"
        why = "the trial was not confirmed in time: version 0 is running instead"
        assert saved(world)["ended"]["why"] == why


def test_the_cloud_is_not_reached_in_time():
    with World() as world:
        client = trial_client(world, False, trial={"limit_s": 60})
        world.spin(59, pace_ms=100)
        assert not client.exiting
        world.spin(2, pace_ms=100)
        assert client.exiting and client.restart
        state = saved(world)
        assert state["active"] == "/firmware/0.1.bin" and "trial" not in state
        assert state["ended"]["version"] == "0.2"


def test_a_given_up_version_is_not_rejected():
    with World() as world:
        trial_client(world, False, trial={"limit_s": 60})
        world.spin(61, pace_ms=100)
        world.client(version="0.1")
        world.spin(1)
        assert world.finals()[0][:2] == ("fail", "-5") and "in time" in world.finals()[0][2]
        assert failure_record.reason(world.state, "5" * 32) is None
        assert failure_record.count(world.state, "5" * 32) == 1
        assert "ended" not in saved(world)


def test_what_boot_ended_is_reported_and_rejected():
    with World() as world:
        json_file.save(
            world.path + "/state.json",
            {"active": "/firmware/0.1.bin", "ended": dict(TRIAL, why="crashed", reject=True)},
        )
        client = world.client(version="0.1")
        # It is on flash before anything is sent.
        assert "crashed" in saved(world)["outbox"] and "ended" not in saved(world)
        world.spin(1)
        assert world.finals() == [("fail", "-5", "crashed")]
        assert client.link.sent[-1][1]["report"]["version"] == "0.2"
        assert client.link.sent[-1][1]["report"]["task_id"] == 7
        assert failure_record.reason(world.state, "5" * 32) == "crashed"


def test_a_full_flash_does_not_keep_the_client_from_its_start():
    def full(*_args):
        raise OSError(28)

    with World() as world:
        ended = {"active": "/firmware/0.1.bin", "ended": dict(TRIAL, why="crashed", reject=True)}
        json_file.save(world.path + "/state.json", ended)
        with patched(json_file, save=full):
            world.client(version="0.1")
        assert saved(world)["ended"]
        world.spin(1)
        assert world.versions() == ["0.1"] and world.finals() == [("fail", "-5", "crashed")]
        # The report was not on flash before it was said; now all of it is.
        assert "ended" not in saved(world) and "outbox" not in saved(world)


def test_what_it_died_of_is_said_when_it_is_given_up():
    with World() as world:
        state = trial_client(world, connect=False).state
        app_crash.keep(state, ValueError("long " * 50))
        assert len(saved(world)["trial"]["died"]) == 96
        app_crash.keep(state, ValueError("broken"))
        assert saved(world)["trial"]["died"] == "ValueError broken"
        try:
            {}["every_s"]
        except KeyError as error:
            app_crash.keep(state, error)
        said = saved(world)["trial"]["died"]
        # The innermost file and line, which are the same on every board.
        assert said.startswith("KeyError ") and " in test_trial.py:" in said
        assert said.split(":")[-1].isdigit()
        app_crash.keep(state, ValueError("broken"))
        trial_rollback.roll_back(state, "crashed in its trial", True)
        world.client(version="0.1")
        world.spin(2)
        why = "crashed in its trial, ValueError broken"
        assert world.finals() == [("fail", "-5", why)]
        assert saved(world)["rejected"] == [[TRIAL["md5sum"], why]]


def test_a_hang_is_told_from_an_exception():
    """Without one, only the watchdog ends a start so that boot.py counts a crash."""
    with World() as world:
        trial_rollback.roll_back(trial_client(world, connect=False).state, "crashed in its trial")
        world.client(version="0.1")
        world.spin(2)
        why = "hung in its trial: the watchdog reset the board"
        assert world.finals() == [("fail", "-5", why)]
        assert "rejected" not in saved(world)  # also a board that was slow once resets so


def test_a_flash_that_fails_does_not_keep_a_trial_from_its_end():
    tried = []

    def save(*_args):
        tried.append(1)
        raise OSError(5)

    with World() as world:
        state = trial_client(world, connect=False).state
        with patched(state_file, save=save):
            app_crash.keep(state, ValueError("broken"))
        assert tried and "died" not in saved(world)["trial"]
        trial_rollback.roll_back(state, "crashed in its trial", True)
        ended = saved(world)["ended"]
        assert (ended["why"], ended["died"]) == ("crashed in its trial", "ValueError broken")


def test_what_lost_power_too_often_is_not_rejected():
    with World() as world:
        json_file.save(
            world.path + "/state.json",
            {"active": "/firmware/0.1.bin", "ended": dict(TRIAL, why="power", reject=False)},
        )
        world.client(version="0.1")
        world.spin(1)
        assert world.finals() == [("fail", "-5", "power")]
        assert failure_record.reason(world.state, "5" * 32) is None


def test_an_ended_trial_does_not_keep_updates_back():
    with World() as world:
        json_file.save(world.path + "/state.json", {"ended": dict(TRIAL, why="x", reject=True)})
        world.client(version="0.1")
        world.push(world.data, version="0.3")
        world.spin(5)
        assert [firmware.version for firmware in world.got] == ["0.3"]
