"""The turnkey agent: its configuration, the version that runs, and how the application runs."""

import json

from ivota import agent, net
from ivota.errors import ConfigError
from support import installed, patched, raises, tmp_dir, write_file

SKIP_ON = {
    "test_an_async_application": (
        "cpython",
        "an async def and a def are of one type there, of two in MicroPython",
    ),
    "test_an_application_in_a_thread": (
        "cpython",
        "an async def and a def are of one type there, of two in MicroPython",
    ),
}


def write_json(path, value):
    write_file(path, json.dumps(value).encode())


# The configuration


def test_the_bundles_keys_come_first():
    with tmp_dir() as path:
        write_json(path + "/a", {"product_id": "P", "mqtt": {"host": "old", "port": 1}})
        write_json(path + "/b", {"mqtt": {"host": "new"}, "keys": ["/k"], "wifi": {"ssid": "s"}})
        assert agent.load_config(path + "/a", path + "/b") == {
            "product_id": "P",
            "mqtt": {"host": "new", "port": 1},
            "keys": ["/k"],
            "wifi": {"ssid": "s"},
        }


def test_one_of_them_is_enough():
    with tmp_dir() as path:
        write_json(path + "/a", {"product_id": "P"})
        assert agent.load_config(path + "/a", path + "/none") == {"product_id": "P"}
        assert agent.load_config(path + "/none", path + "/a") == {"product_id": "P"}


def test_a_section_in_place_of_a_value_and_the_other_way():
    with tmp_dir() as path:
        write_json(path + "/a", {"mqtt": 5, "http": {"ca": "x"}})
        write_json(path + "/b", {"mqtt": {"host": "h"}, "http": None})
        assert agent.load_config(path + "/a", path + "/b") == {"mqtt": {"host": "h"}, "http": None}


def test_no_configuration_is_a_clear_error():
    with tmp_dir() as path:
        for junk in (None, b"", b"{", b"[]", b"null", b"\xff"):
            if junk is not None:
                write_file(path + "/a", junk)
            with raises(ConfigError, path + "/a"):
                agent.load_config(path + "/a", path + "/none")


# The version that runs


def test_the_version_is_the_bundles():
    with tmp_dir() as path, patched(agent, _APP=path + "/"):
        write_json(path + "/ivota.json", {"version": "0.7", "format": 1})
        assert agent.running_version({"version": "0.1"}) == "0.7"


def test_else_the_frozen_images():
    class Image:
        VERSION = "2.0"

    with tmp_dir() as path, patched(agent, _APP=path + "/"), installed("ivota_image", Image):
        assert agent.running_version({"version": "0.1"}) == "2.0"


def test_else_the_configurations():
    with tmp_dir() as path, patched(agent, _APP=path + "/"):
        assert agent.running_version({"version": "0.1"}) == "0.1"
        assert agent.running_version({}) == "0"


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
    def __init__(self):
        self.watchdogs = []
        self.feeds = 0

    def reset(self):
        raise Reset

    def WDT(self, timeout):
        self.watchdogs.append(timeout)
        return self

    def feed(self):
        self.feeds += 1


class FakeState:
    trial = None


class FakeClient:
    """A client whose run ends at once."""

    made = None
    restart = True
    exiting = True

    def __init__(self, config, version, on_firmware, log=None, state=None):
        from ivota.config import check

        self.config = check(config)
        self.version = version
        self.on_firmware = on_firmware
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
        self._values = {"State": state, "Client": client, "print": lambda *args: None}

    def __enter__(self):
        self._tmp = tmp_dir()
        path = self._tmp.__enter__()
        write_json(path + "/ivota.json~", self._config)
        self.machine = FakeMachine()
        agent.print = print  # so that it can be replaced
        self._values.update(
            machine=self.machine, _CONFIG=path + "/ivota.json", _APP=path + "/app/"
        )
        self._feed = net.feed
        self._patch = patched(agent, **self._values)
        self._patch.__enter__()
        if self._application is not False:
            self._look = patched(agent, _application=lambda: self._application)
            self._look.__enter__()
        return self

    def __exit__(self, *exc):
        if self._application is not False:
            self._look.__exit__(*exc)
        self._patch.__exit__(*exc)
        del agent.print
        net.feed = self._feed
        self._tmp.__exit__(*exc)


def test_without_an_application():
    with Board():
        with raises(Reset):
            agent.run()
        assert FakeClient.made.ran == 1 and FakeClient.made.version == "0.1"
        assert FakeClient.made.on_firmware.client is FakeClient.made


def test_an_exit_without_restart_ends_quietly():
    class Client(FakeClient):
        restart = False

    with Board(client=Client):
        agent.run()
        assert FakeClient.made.ran == 1


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


def test_a_trial_has_a_watchdog():
    class Trial:
        trial = {"version": "0.2"}

    with Board(state=Trial) as board:
        with raises(Reset):
            agent.run()
        assert board.machine.watchdogs == [60000]
        net.feed()
        assert board.machine.feeds >= 1


def test_no_watchdog_of_its_own_otherwise():
    with Board() as board:
        with raises(Reset):
            agent.run()
        assert board.machine.watchdogs == []
    with Board(config=dict(CONFIG, watchdog_s=8)) as board:
        with raises(Reset):
            agent.run()
        assert board.machine.watchdogs == [8000]


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
    from ivota import runners

    order = []

    def start(client, then=None):
        order.append("client")

    with Board(application=lambda: order.append("application")):
        with patched(runners, start=start):
            agent.run()
    assert order == ["client", "application"]
