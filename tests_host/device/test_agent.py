"""The turnkey agent: its configuration, the version that runs, and how the application runs."""

import json
import sys

from doubles.fakeesp32 import PLAIN, FakeEsp32

from ivota import agent, agent_setup, config_fallback, guarded_socket, json_file, shutdown, trial
from ivota import state as states
from ivota.config import ConfigError, check
from support import Clock, installed, patched, raises, tmp_dir, write_file

ONE_TYPE = ("cpython", "an async def and a def are of one type there, of two in MicroPython")
SKIP_ON = {
    "test_an_async_application": ONE_TYPE,
    "test_an_async_application_that_dies_resets_the_board_in_its_trial_alone": ONE_TYPE,
    "test_an_application_in_a_thread": ONE_TYPE,
    "test_an_application_in_a_thread_that_dies_in_its_trial_has_the_client_end": ONE_TYPE,
}


def write_json(path, value):
    write_file(path, json.dumps(value).encode())


# The configuration


def loaded(path, log=None):
    with patched(config_fallback, BUNDLE=path + "/config.json"):
        return config_fallback.read(path + "/a", log)


def test_the_bundles_keys_come_last_and_decide():
    with tmp_dir() as path:
        write_json(path + "/a", {"product_id": "P", "device_name": "d", "mqtt": {"host": "old"}})
        write_json(path + "/config.json", {"mqtt": {"host": "new"}, "wifi": {"ssid": "s"}})
        config = check(loaded(path))
        assert config["product_id"] == "P"
        assert config["mqtt"]["host"] == "new" and config["mqtt"]["keepalive_s"] == 120
        assert config["wifi"][0]["ssid"] == "s" and config["network"] == "wifi"


def test_one_of_them_is_enough():
    with tmp_dir() as path:
        write_json(path + "/a", {"product_id": "P"})
        assert loaded(path) == ({"product_id": "P"},)
    with tmp_dir() as path:
        write_json(path + "/config.json", {"version": "2"})
        assert loaded(path) == ({"version": "2"},)


def test_a_bundle_does_not_say_who_the_board_is():
    board = {"product_id": "P", "device_name": "d", "mqtt": {"host": "h"}}
    said = []
    with tmp_dir() as path:
        write_json(path + "/a", board)
        others = {"product_id": "Q", "device_name": 5, "device_secret": "c2VjcmV0", "version": "2"}
        write_json(path + "/config.json", others)
        found = loaded(path, lambda level, event, **fields: said.append((event, fields)))
        assert found == (board, {"version": "2"})
        config = check(found)
        assert config["device_name"] == "d" and config["device_secret"] is None
        assert loaded(path) == found  # nobody to tell
    keys = ("product_id", "device_name", "device_secret")
    assert said == [("identity_ignored", {"key": key}) for key in keys]


def test_no_configuration_is_a_clear_error():
    with tmp_dir() as path:
        for junk in (None, b"", b"{", b"[]", b"null", b"\xff"):
            if junk is not None:
                write_file(path + "/a", junk)
            with raises(ConfigError, path + "/a"):
                loaded(path)


# The version that runs


def test_the_version_and_the_application_are_the_bundles():
    with tmp_dir() as path, patched(agent_setup, _APP=path):
        write_json(path + "/ivota.json", {"version": "0.7", "format": 1})
        assert agent_setup.running() == ("0.7", None)
        write_json(path + "/ivota.json", {"version": "0.7", "format": 1, "application": "pump"})
        assert agent_setup.running() == ("0.7", "pump")


def test_else_the_frozen_images():
    class Image:
        VERSION = "2.0"

    with tmp_dir() as path, patched(agent_setup, _APP=path), installed("ivota_image", Image):
        assert agent_setup.running() == ("2.0", None)


def test_else_the_configurations():
    with tmp_dir() as path, patched(agent_setup, _APP=path):
        assert agent_setup.running() == (None, None)


def test_a_log_line():
    lines = []
    agent.print = lambda *args: lines.append(" ".join(str(arg) for arg in args))
    try:
        agent.log("info", "update", version="0.2", size=5)
        agent.log("info", "restart")
    finally:
        del agent.print
    assert lines[0] == "ivota: update size=5 version=0.2"
    assert lines[1].strip() == "ivota: restart"


# run()


class Reset(Exception):
    """The board restarts."""


class FakeMachine:
    PWRON_RESET, WDT_RESET = 1, 3

    def __init__(self):
        self.cause = self.PWRON_RESET
        self.watchdogs = []
        self.feeds = self.resets = 0

    def reset(self):
        self.resets += 1
        raise Reset

    most = 1 << 30

    def reset_cause(self):
        return self.cause

    def WDT(self, timeout):
        if timeout > self.most:
            raise ValueError("timeout")
        self.watchdogs.append(timeout)
        return self

    def feed(self):
        self.feeds += 1


class FakeState:
    trial = None
    ended = None
    armed = 0


class FakeClient:
    """A client whose run ends at once."""

    made = None
    trial = None
    restart = True
    exiting = True

    def __init__(self, config, version, log=None, state=None):
        self.config = check(config)
        self.version = version or self.config["version"]
        self.state = state
        self.ran = 0
        FakeClient.made = self

    def run(self):
        self.ran += 1

    async def serve(self):
        self.ran += 1

    def log(self, *args, **fields):
        pass


CONFIG = {"product_id": "P", "device_name": "d", "mqtt": {"host": "h"}, "version": "0.1"}


class Board:
    """`agent.run()` on fakes: a configuration, perhaps an application, a machine."""

    def __init__(self, config=CONFIG, application=False, state=FakeState, client=FakeClient):
        self._config = config
        self._application = application
        self._values = {"Client": client}
        self._state = state

    def __enter__(self):
        self._tmp = tmp_dir()
        path = self._tmp.__enter__()
        write_json(path + "/ivota.json~", self._config)
        self.machine = FakeMachine()
        agent.print = print  # so that it can be replaced
        self._values.update(_APP=path + "/app")
        if self._application is not False:
            self._values["_application"] = lambda client: self._application
        self._feed = guarded_socket.hooks.feed
        self._patches = [
            patched(agent_setup, **self._values),
            patched(
                config_fallback,
                GIVEN=path + "/ivota.json",
                KEPT=path + "/ivota-kept.json",
                BUNDLE=path + "/app/config.json",
            ),
            patched(states, load=self._state),
            patched(agent, machine=self.machine, print=lambda *args: None),
            installed("machine", self.machine),
        ]
        for patch in self._patches:
            patch.__enter__()
        return self

    def __exit__(self, *exc):
        for patch in self._patches:
            patch.__exit__(*exc)
        del agent.print
        guarded_socket.hooks.feed = self._feed
        self._tmp.__exit__(*exc)


def test_without_an_application():
    with Board():
        with raises(Reset):
            agent.run()
        assert FakeClient.made.ran == 1 and FakeClient.made.version == "0.1"


def test_the_chip_is_that_of_the_running_image():
    blank = FakeEsp32(chip=5)
    blank.slots["ota_0"][:24] = b"\xff" * 24
    unreadable = FakeEsp32(chip=5)
    unreadable.fail = "read"
    plain = FakeEsp32(chip=0, layout=PLAIN)
    for esp32, chip_id in ((FakeEsp32(chip=5), 5), (plain, 0), (blank, None), (unreadable, None)):
        with Board(), installed("esp32", esp32), raises(Reset):
            agent.run()
        assert FakeClient.made.chip_id == chip_id
    with Board(), raises(Reset):  # no ESP32
        agent.run()
    assert FakeClient.made.chip_id is None


def test_collections_are_due_by_the_room_there_is():
    """One takes as long as the heap is large: every KiB, an application runs 12 times slower."""

    class Gc:
        def __init__(self, free):
            self.free = free
            self.thresholds = []

        def mem_free(self):
            return self.free

        def threshold(self, size):
            self.thresholds.append(size)

        def collect(self):
            pass

    for free in (30_000, 80_000, 4_000_000):
        gc = Gc(free)
        with Board(), patched(agent, gc=gc), raises(Reset):
            agent.run()
        assert gc.thresholds and min(gc.thresholds) == free // 8


def test_an_exit_without_restart_ends_quietly():
    class Client(FakeClient):
        restart = False

    with Board(client=Client):
        agent.run()
        assert FakeClient.made.ran == 1


def test_a_client_that_died_rests_before_it_is_started_again():
    class Client(FakeClient):
        restart = exiting = False

        def run(self):
            raise ValueError("died")

    class Trial(FakeState):
        trial = {"version": "0.2"}
        path = "/no-such-folder/state"  # it resets the board even if nothing can be recorded

    for state, rest_ms in ((FakeState, 10000), (Trial, 0)):
        with Board(client=Client, state=state), Clock().put_into(shutdown) as clock:
            with raises(Reset):
                agent.run()
            assert clock.now_ms() == rest_ms
            assert not rest_ms or max(clock.sleeps) <= 500  # the watchdog is fed in between


def test_what_the_client_died_of_in_a_trial_is_recorded():
    """boot.py counts no other hard reset as a crash."""
    client = FakeClient(CONFIG, "0.2")
    for end in (shutdown.ended, lambda client, error: shutdown.thread_ended(client, [], error)):
        with tmp_dir() as path:
            client.state = state = states.load(path + "/state.json")
            state.trial = {"version": "0.2"}
            with Board(), raises(Reset):
                end(client, ValueError("broken"))
            assert states.load(state.path).trial["died"] == "ValueError broken"


def application_of(source, state):
    """What `_application` finds in a bundle whose app.py is this."""
    client = FakeClient(CONFIG, "0.2", state=state)
    with tmp_dir() as path:
        write_file(path + "/app.py", source)
        sys.path.insert(0, path)
        try:
            with patched(agent_setup, _APP=path):
                return agent_setup._application(client)
        finally:
            sys.path.remove(path)
            sys.modules.pop("app", None)


def test_an_application_that_cannot_be_imported():
    class Trial(FakeState):
        trial = {"version": "0.2"}

    for source in (b"import gone", b"raise ValueError", b"def (", b"mian = 1"):
        assert application_of(source, FakeState) is None
        with raises(Exception):
            application_of(source, Trial)
    assert application_of(b"main = 5", Trial) == 5


def test_bad_configurations_are_errors_that_name_the_key():
    for changed, part in (
        ({"mqtt": {}}, "mqtt.host"),
        ({"mqt": {}}, "mqt"),
        ({"version": 5}, "version"),
        ({"trial": 5}, "trial"),
        ({"wifi": 5}, "wifi"),
        ({"wifi": "ssid"}, "wifi"),
    ):
        with Board(config=dict(CONFIG, **changed)):
            with raises(ConfigError, part):
                agent.run()


def armed(watchdog_s=0, machine=None, **kept):
    """Start the agent on a state: the watchdogs that it arms, its state, and what is on flash."""
    with tmp_dir() as path:
        path += "/state.json"
        json_file.save(path, dict(kept, active="/a.bin"))
        state = states.load(path)
        with Board(config=dict(CONFIG, watchdog_s=watchdog_s), state=lambda: state) as board:
            board.machine.most = 0 if machine else 1 << 30
            with raises(Reset):
                agent.run()
            guarded_socket.hooks.feed()
            assert bool(board.machine.watchdogs) == bool(board.machine.feeds)
        return board.machine.watchdogs, state, states.load(path)


def test_a_trial_has_a_watchdog_and_its_confirmation_notes_it():
    dogs, state, flash = armed(trial={"version": "0.2", "limits": [3, 10]})
    assert dogs == [60000] and state.armed == 1
    assert not flash.armed  # the trial says so itself
    with tmp_dir() as path:
        state.path = path + "/state.json"
        trial.confirm(state, "DONE")
        assert states.load(state.path).armed == 1


def test_a_trials_watchdog_that_a_soft_reset_left_armed_is_fed_on():
    dogs, state, flash = armed(armed=1)
    assert dogs == [60000] and state.armed == flash.armed == 1


def test_no_watchdog_of_its_own_otherwise():
    dogs, state, flash = armed()
    assert dogs == [] and not state.armed and not flash.armed


def test_the_configurations_watchdog_is_noted_for_as_long_as_there_is_one():
    for noted in (0, 1, 2):
        dogs, state, flash = armed(8, armed=noted)
        assert dogs == [8000] and state.armed == flash.armed == 2
    dogs, state, flash = armed(armed=2)
    assert dogs == [] and not flash.armed


def test_a_port_without_a_watchdog_notes_none():
    for found in ({"trial": {"version": "0.2"}}, {"armed": 1}):
        dogs, state, flash = armed(machine="none", **found)
        assert dogs == [] and not state.armed and not flash.armed


def test_a_watchdog_reset_outside_a_trial_is_noted():
    state = FakeState()
    for cause, trial_of, expected in (
        (3, None, True),
        (1, None, False),
        (3, {"version": "0.2"}, False),
    ):
        state.trial = trial_of
        with Board(state=lambda: state) as board:
            board.machine.cause = cause
            with raises(Reset):
                agent.run()
            assert FakeClient.made.after_watchdog is expected, (cause, trial_of)


ran = []


async def application():
    ran.append(1)


def test_an_async_application():
    class Client(FakeClient):
        async def serve(self):
            import asyncio

            while not ran:
                await asyncio.sleep(0)

    with Board(application=application, client=Client):
        with raises(Reset):
            agent.run()
    assert ran == [1]


def test_an_application_in_a_thread():
    from ivota import thread_runner

    order = []

    def start(client, then=None):
        order.append("client")

    with Board(application=lambda: order.append("application")):
        with patched(thread_runner, start=start):
            agent.run()
    assert order == ["client", "application"]


class Trial(FakeState):
    path = "/none/state.json"  # a write that fails is passed over
    others = {}

    def __init__(self):
        self.trial = {"version": "0.2"}


def test_an_async_application_that_dies_resets_the_board_in_its_trial_alone():
    class Client(FakeClient):
        async def serve(self):
            import asyncio

            for _ in range(3):
                await asyncio.sleep(0)
            self.ran += 1

    async def broken():
        raise ValueError("broken")

    for state in (FakeState, Trial):
        with Board(application=broken, client=Client, state=state) as board, raises(Reset):
            agent.run()
        # The last one is at the end; asyncio keeps the one that a task raises.
        assert board.machine.resets == (2 if state is Trial else 1)
    assert FakeClient.made.state.trial["died"].startswith("ValueError broken")


def test_an_application_in_a_thread_that_dies_in_its_trial_has_the_client_end():
    from ivota import thread_runner

    exits = []

    class Client(FakeClient):
        def exit(self):
            exits.append(1)

    def broken():
        raise ValueError("broken")

    for state, ends in ((FakeState, []), (Trial, [1])):
        with Board(application=broken, client=Client, state=state):
            with patched(thread_runner, start=lambda client, then: None):
                agent.run()
        assert exits == ends


def test_an_application_that_died_in_its_trial_is_a_reset():
    def no_heap(name):
        raise MemoryError

    # Also where the cloud was reached in the moment of its death, or there is no heap to say why.
    for state, load in ((FakeState, None), (Trial, no_heap)):
        client = FakeClient(CONFIG, "0.2", state=state)
        client.restart = False
        with Board(state=state), patched(shutdown, once=load or shutdown.once), raises(Reset):
            shutdown.thread_ended(client, [ValueError("broken")])


def test_a_thread_that_was_told_to_end_resets_nothing():
    client = FakeClient(CONFIG, "0.2", state=FakeState)
    client.restart = False
    with Board():
        shutdown.thread_ended(client, [])
        client.exiting = False  # nobody told it to
        with Clock().put_into(shutdown), raises(Reset):
            shutdown.thread_ended(client, [])


def test_an_end_that_cannot_be_loaded_is_a_reset():
    with Board() as board, patched(agent, once=None):
        agent.once = lambda name: agent_setup if name == "agent_setup" else __import__("gone")
        with raises(Reset):
            agent.run()
        assert FakeClient.made.ran == 1 and board.machine.watchdogs == []
