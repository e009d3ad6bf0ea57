"""boot.py: what starts, how the starts of a trial are counted, and what a damaged bundle changes.

The file itself is executed, with its state file in a folder of the test's.
"""

import json
import os
import sys

import vfs
from bundles import bundle

from ivota import jsonfile
from ivota import state as states
from ivota.state import load
from support import installed, read_file, tmp_dir, write_file

BOOT = __file__.rsplit("/", 1)[0] + "/../../boot.py"


class FakeMachine:
    PWRON_RESET = 1
    HARD_RESET = 2
    WDT_RESET = 3
    DEEPSLEEP_RESET = 4
    SOFT_RESET = 5

    def __init__(self, cause):
        self._cause = cause

    def reset_cause(self):
        return self._cause


class Board:
    """A board's flash: two bundles and the state file."""

    def __enter__(self):
        self._tmp = tmp_dir()
        self.path = self._tmp.__enter__()
        self._sys_path = list(sys.path)
        for version in ("0.1", "0.2"):
            app = ("VERSION = '%s'\n" % version).encode()
            write_file(self.bin(version), bundle([("app.py", app)], version))
        return self

    def __exit__(self, *exc):
        self.off()
        self._tmp.__exit__(*exc)

    def bin(self, version):
        return "%s/%s.bin" % (self.path, version)

    def damage(self, version):
        write_file(self.bin(version), b"\xff" * 3000)

    def save(self, **state):
        jsonfile.save(self.path + "/state.json", state)

    def trial(self, previous="0.1"):
        state = load(self.path + "/state.json")
        state.active = previous and self.bin(previous)
        trial = {"version": "0.2", "md5sum": "5" * 32, "limits": [3, 10]}
        states.activate(state, self.bin("0.2"), trial)

    def state(self):
        return jsonfile.load(self.path + "/state.json") or {}

    def off(self):
        sys.path[:] = self._sys_path
        try:
            vfs.umount("/app")
        except OSError:
            pass

    def boot(self, cause=FakeMachine.PWRON_RESET):
        """The version that is mounted after a start; None for the factory package alone."""
        self.off()
        source = read_file(BOOT).decode()
        assert '"/ivota-state.json"' in source
        source = source.replace('"/ivota-state.json"', repr(self.path + "/state.json"))
        with installed("machine", FakeMachine(cause)):
            exec(source, {"__name__": "boot"})
        if "/app" not in sys.path:
            assert "/app/lib" not in sys.path
            return None
        assert sys.path[:2] == ["/app", "/app/lib"]
        with open("/app/ivota.json") as file:
            return json.load(file)["version"]


def test_a_fresh_board_runs_the_factory_package():
    with Board() as board:
        assert board.boot() is None
        assert board.state() == {}


def test_the_active_bundle():
    with Board() as board:
        board.save(active=board.bin("0.2"), previous=board.bin("0.1"))
        before = board.state()
        for cause in range(1, 6):
            assert board.boot(cause) == "0.2"
        assert board.state() == before  # nothing is written outside a trial


def test_an_application_is_imported_from_it():
    with Board() as board:
        board.save(active=board.bin("0.2"))
        board.boot()
        import app

        del sys.modules["app"]
        assert app.VERSION == "0.2"


def test_a_damaged_active_one_leaves_its_place():
    with Board() as board:
        board.save(active=board.bin("0.2"), previous=board.bin("0.1"))
        board.damage("0.2")
        assert board.boot() == "0.1"
        os.remove(board.bin("0.2"))
        assert board.boot() == "0.1"


def test_both_damaged():
    with Board() as board:
        board.save(active=board.bin("0.2"), previous=board.bin("0.1"))
        board.damage("0.1")
        board.damage("0.2")
        assert board.boot() is None


def test_an_image_that_keeps_its_previous_bundle_mounts_none():
    with Board() as board:
        board.save(previous=board.bin("0.1"))
        assert board.boot() is None


def test_a_trial_starts_and_is_counted():
    with Board() as board:
        board.trial()
        assert board.boot(FakeMachine.HARD_RESET) == "0.2"
        state = board.state()
        assert state["starts"] == 1 and "power_boots" not in state
        assert state["trial"] and state["active"] == board.bin("0.2")


def test_crashes_have_three_starts():
    for cause in (FakeMachine.HARD_RESET, FakeMachine.WDT_RESET, FakeMachine.SOFT_RESET):
        with Board() as board:
            board.trial()
            assert [board.boot(cause) for _ in range(5)] == ["0.2"] * 3 + ["0.1"] * 2
            ended = board.state()["ended"]
            assert ended["version"] == "0.2" and ended["reject"] and "crash" in ended["why"]
            assert board.state()["trial"] is None and board.state()["previous"] is None
            assert board.state()["active"] == board.bin("0.1")


def test_lost_power_has_ten():
    for cause in (FakeMachine.PWRON_RESET, FakeMachine.DEEPSLEEP_RESET):
        with Board() as board:
            board.trial()
            assert [board.boot(cause) for _ in range(12)] == ["0.2"] * 10 + ["0.1"] * 2
            ended = board.state()["ended"]
            assert not ended["reject"] and "power" in ended["why"]


def test_the_two_are_counted_apart():
    with Board() as board:
        board.trial()
        for cause in (1, 2) * 3:
            assert board.boot(cause) == "0.2"
        assert (board.state()["starts"], board.state()["power_boots"]) == (3, 3)
        assert board.boot(1) == "0.2"
        assert board.boot(2) == "0.1"


def test_given_up_with_nothing_before_it():
    with Board() as board:
        board.trial(None)
        found = [board.boot(2) for _ in range(5)]
        assert found == ["0.2"] * 3 + [None] * 2
        assert board.state()["ended"]["version"] == "0.2"


def test_a_damaged_bundle_in_its_trial_is_given_up_and_rejected():
    with Board() as board:
        board.trial()
        board.damage("0.2")
        assert board.boot(2) == "0.1"
        state = board.state()
        assert state["active"] == board.bin("0.1") and state["trial"] is None
        assert state["ended"]["reject"] and "damaged" in state["ended"]["why"]
        assert board.boot() == "0.1"


def test_a_trial_damaged_on_both_sides():
    with Board() as board:
        board.trial()
        board.damage("0.1")
        board.damage("0.2")
        assert board.boot(2) is None
        assert board.state()["ended"]["version"] == "0.2"


def test_the_count_is_on_flash_before_the_version_starts():
    with Board() as board:
        board.trial()
        import bundlefs

        seen = []
        real = bundlefs.start

        def start(path):
            seen.append(board.state()["starts"])
            return real(path)

        bundlefs.start = start
        try:
            board.boot(2)
        finally:
            bundlefs.start = real
        assert seen == [1]


def test_only_the_temporary_of_the_state_exists():
    with Board() as board:
        board.save(active=board.bin("0.2"))
        os.rename(board.path + "/state.json", board.path + "/state.json~")
        assert board.boot() == "0.2"


def test_states_that_are_junk():
    with Board() as board:
        for junk in (b"", b"{", b"null", b"5", b"[]", b'"x"', b"\xff\xff", b"true"):
            write_file(board.path + "/state.json", junk)
            assert board.boot() is None, junk


def test_values_that_are_junk_never_end_it():
    with Board() as board:
        for key in ("active", "previous", "trial", "starts", "power_boots", "ended"):
            for value in (None, True, 5, "x", [], [1], {}, {"limits": []}, {"limits": 5}):
                state = {"active": board.bin("0.2"), "previous": board.bin("0.1")}
                state[key] = value
                board.save(**state)
                board.boot(2)


def test_a_failing_flash_never_ends_it():
    with Board() as board:
        board.trial()
        os.mkdir(board.path + "/state.json~")
        board.boot(2)
        os.rmdir(board.path + "/state.json~")
        assert board.boot(2) == "0.2"


def test_what_the_client_makes_of_it():
    # boot.py writes what State reads, and the other way round.
    with Board() as board:
        board.trial()
        for _ in range(4):
            board.boot(2)
        state = load(board.path + "/state.json")
        assert state.active == board.bin("0.1") and state.trial is None
        assert state.ended["version"] == "0.2"
        states.post(state, "FAIL", state.ended["md5sum"], state.ended["why"])
        assert board.boot(2) == "0.1"
        assert states.reason(load(board.path + "/state.json"), "5" * 32)
