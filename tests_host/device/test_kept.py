"""Which configuration is used, what is kept of it, and when the other one is tried."""

import json
import os

import vfs

from ivota import aliyun, config_fallback, guarded_socket, json_file, tencent
from ivota.config import check
from ivota.state import load
from ivota.update_client import Client
from support import Clock, installed, patched, raises, read_file, tmp_dir, write_file

GOOD = {"product_id": "P", "device_name": "d", "mqtt": {"host": "good"}}


class FakeTrial:
    def __init__(self):
        self.acked = self.answered = False
        self.over = False

    def step(self, confirmed):
        return None if self.over else self


class FakeLink:
    def __init__(self):
        self.left = False

    def close(self, politely):
        self.left = politely


class FakeClient:
    """What `ConfigTrial` needs of a client."""

    trial = job = None

    def __init__(self, config=None):
        self.config = config or check(GOOD)
        self.dialect = tencent
        self.link = FakeLink()
        self.state = load("/nowhere")
        self.said = []

    adopt = Client.adopt

    def log(self, level, event, **fields):
        self.said.append(event)


class Board:
    """A flash with a configuration on it; `time` is when that was written."""

    def __init__(self, config=GOOD, time=7):
        self._config = config
        self.time = time
        self.said = []

    def __enter__(self):
        self._tmp = tmp_dir()
        self.path = path = self._tmp.__enter__()
        self.config = path + "/ivota.json"
        self.kept = path + "/ivota-kept.json"
        self._patch = patched(
            config_fallback, GIVEN=self.config, KEPT=self.kept, BUNDLE=path + "/bundle", os=self
        )
        self._patch.__enter__()
        self.write(self._config)
        return self

    def __exit__(self, *exc):
        self._patch.__exit__(*exc)
        self._tmp.__exit__(*exc)

    def stat(self, path):
        """As `os`: the unix port and CPython can't set a file's time."""
        return os.stat(path)[:8] + (self.time, 0)

    def write(self, config):
        write_file(
            self.config, config if isinstance(config, bytes) else json.dumps(config).encode()
        )

    def log(self, level, event, **fields):
        self.said.append(event)

    def usable(self):
        self.said = []
        return config_fallback.usable(self.log)

    def watch(self, client=None):
        paths, more = self.usable()
        return config_fallback.ConfigTrial(client or FakeClient(), paths, *more)

    def reach(self):
        """The configuration that is there reaches the cloud."""
        watch = self.watch()
        assert watch.step(True) is watch
        watch.acked = True
        assert watch.step(True) is None

    def replace(self, **changes):
        """Once that has reached the cloud, a later configuration is written in its place."""
        self.reach()
        self.time += 1
        self.write(dict(GOOD, **changes))


def host(path):
    return config_fallback.read(path)[0]["mqtt"]["host"]


def test_what_reached_the_cloud_is_kept():
    with Board() as board:
        paths, watch = board.usable()
        assert paths == [board.config] and watch
        assert not board.said
        board.reach()
        assert config_fallback.read(board.kept) == (GOOD,)
        # The same again costs nothing more.
        before = read_file(board.kept)
        assert board.usable() == ([board.config], None)
        assert read_file(board.kept) == before


def test_nothing_is_kept_before_the_cloud_is_reached():
    with Board() as board, Clock().put_into(config_fallback) as clock:
        client = FakeClient()
        link = client.link
        watch = board.watch(client)
        for _ in range(5):
            clock.advance_ms(600001)
            assert watch.step(True) is watch
        assert client.link is link  # there is no other one to try
        assert sorted(os.listdir(board.path)) == ["ivota.json"]


def test_one_that_was_changed_meanwhile_is_not_kept():
    with Board() as board:
        watch = board.watch()
        board.write(dict(GOOD, device_name="e"))
        watch.acked = True
        assert watch.step(True) is None
        assert sorted(os.listdir(board.path)) == ["ivota.json"]


def test_a_flash_that_is_full():
    with Board() as board:
        client = FakeClient()
        watch = board.watch(client)
        os.mkdir(board.kept + "~")
        watch.acked = True
        assert watch.step(True) is None
        assert client.said == ["flash"]


def test_one_that_cannot_be_used():
    for junk in (b"", b"{", b"[]", b"\xff" * 300, b'{"mqtt": 5}', b'{"product_id": "P"}', None):
        with Board() as board:
            board.reach()
            if junk is None:
                os.remove(board.config)
            else:
                board.time += 1
                board.write(junk)
            assert board.usable()[0] == [board.kept]
            assert board.said == ["config_refused"]
            assert host(board.kept) == "good"
            board.time -= 1
            assert board.usable()[0] == [board.kept]


def test_one_that_does_not_fit_the_heap():
    """The copy is used, and does not become what could not be read."""
    with Board() as board:
        board.reach()
        whole = read_file(board.kept)
        board.time += 1
        board.write(dict(GOOD, mqtt={"host": "new"}))
        real = json_file.load

        def load(path, ours=False):
            if path == board.config:
                raise MemoryError
            return real(path, ours)

        with patched(json_file, load=load):
            assert board.usable()[0] == [board.kept]
            assert board.said == ["config_refused"]
        client = FakeClient()
        watch = board.watch(client)
        watch.acked = True
        with patched(json_file, load=load):
            assert watch.step(True) is None
        assert client.said == ["flash"]
        assert read_file(board.kept) == whole


def test_neither_can_be_used():
    for copy in (None, b"{}", b"junk"):
        with Board(b'{"mqt": {}}') as board:
            if copy:
                write_file(board.kept, copy)
            with raises(ValueError, "mqt"):
                board.usable()


def test_a_damaged_copy_is_none():
    with Board() as board:
        board.reach()
        whole = read_file(board.kept)
        board.time += 1
        board.write(dict(GOOD, device_name="e"))
        for n in range(len(whole)):
            write_file(board.kept, whole[:n] + bytes([whole[n] ^ 8]) + whole[n + 1 :])
            assert board.usable()[0] == [board.config] and not board.said
        board.reach()
        assert config_fallback.read(board.kept) == (dict(GOOD, device_name="e"),)


def test_a_new_one_comes_first_and_is_kept_when_it_works():
    with Board() as board:
        board.reach()
        new = dict(GOOD, mqtt={"host": "new"})
        board.time += 60
        board.write(new)
        assert board.usable()[0] == [board.config, board.kept]
        board.reach()
        assert config_fallback.read(board.kept) == (new,)
        assert board.usable() == ([board.config], None)


def test_other_bytes_that_nobody_wrote_come_second_and_are_never_kept():
    with Board() as board:
        board.reach()
        board.write(dict(GOOD, device_name="e"))
        assert board.usable()[0] == [board.kept, board.config]
        assert board.said == ["config_damaged"]
        before = read_file(board.kept)
        for turned in (False, True):
            watch = board.watch()
            if turned:
                watch._paths.reverse()
            watch.acked = True
            assert watch.step(True) is None
            assert read_file(board.kept) == before


def test_a_file_system_that_knows_no_times():
    with Board(time=0) as board:
        board.reach()
        board.write(dict(GOOD, device_name="e"))
        assert board.usable()[0] == [board.config, board.kept]


def turns(board, client, watch, clock, ms):
    """The hosts that are tried while the cloud stays out of reach."""
    found = []
    for _ in range(4):
        clock.advance_ms(ms - 1)
        link = client.link
        assert watch.step(True) is watch and client.link is link
        clock.advance_ms(2)
        assert watch.step(True) is watch
        assert client.link is not link
        found.append(client.config["mqtt"]["host"])
    return found


def test_each_is_tried_in_turn():
    first = dict(GOOD, trial={"limit_s": 50})
    with Board(first) as board, Clock().put_into(config_fallback) as clock:
        board.replace(mqtt={"host": "wrong"}, trial={"limit_s": 1})
        client = FakeClient()
        watch = board.watch(client)
        link = client.link
        # The longer limit counts: the other may be what is damaged.
        assert turns(board, client, watch, clock, 50000) == ["good", "wrong"] * 2
        assert link.left
        assert client.directory == "/firmware"


def test_the_other_one_is_tried_after_a_day_at_most():
    good = dict(GOOD, trial={"limit_s": 500000})
    with Board(good) as board, Clock().put_into(config_fallback) as clock:
        board.replace(mqtt={"host": "wrong"})
        client = FakeClient()
        watch = board.watch(client)
        assert turns(board, client, watch, clock, 86400000) == ["good", "wrong"] * 2


def test_what_is_tried_speaks_its_own_dialect():
    with Board() as board, Clock().put_into(config_fallback) as clock:
        board.replace(dialect="aliyun")
        client = FakeClient()
        client.dialect = aliyun
        watch = board.watch(client)
        spoken = []
        for _ in range(2):
            clock.advance_ms(600001)
            watch.step(True)
            spoken.append(client.dialect)
        assert spoken == [tencent, aliyun]


class Radio:
    """A `network` whose one station interface has joined something."""

    STA_IF = 0

    def __init__(self, joined):
        self.joined = joined
        self.joins = 0
        self.on = joined is not None

    def WLAN(self, _interface):
        return self

    def active(self, flag):
        self.on = flag

    def isconnected(self):
        return self.joined is not None

    def disconnect(self):
        if not self.on:
            raise OSError("not started")
        self.joined = None

    def connect(self, ssid, _password):
        self.joins += 1
        self.joined = ssid

    def config(self, _key):
        return self.joined

    def ifconfig(self):
        return ("10.0.0.2", "", "", "")


def test_what_is_tried_is_tried_on_its_own_network():
    home = dict(GOOD, wifi={"ssid": "home"})
    guests = dict(GOOD, wifi={"ssid": "guests"})
    for before, given, joined, finally_on, joins in (
        (home, guests, "guests", "home", 1),
        (home, guests, None, "home", 1),
        (home, dict(home, mqtt={"host": "wrong"}), "home", "home", 0),
        (GOOD, guests, "guests", "guests", 0),  # whoever joins it, we do not
    ):
        with Board(before) as board, Clock().put_into(config_fallback) as clock:
            board.reach()
            board.time += 1
            board.write(given)
            client = FakeClient(check(given))
            watch = board.watch(client)
            radio = Radio(joined)
            clock.advance_ms(600001)
            with installed("network", radio):
                with patched(guarded_socket.hooks, online=guarded_socket.hooks.online):
                    watch.step(True)
                    for _ in range(3):
                        online = guarded_socket.hooks.online()
                    assert online and radio.joined == finally_on and radio.joins == joins


def test_a_port_without_a_network_module_has_none_to_leave():
    home = dict(GOOD, wifi={"ssid": "home"})
    with Board(home) as board, Clock().put_into(config_fallback) as clock:
        board.replace(wifi={"ssid": "guests"})
        client = FakeClient(check(dict(GOOD, wifi={"ssid": "guests"})))
        watch = board.watch(client)
        clock.advance_ms(600001)
        watch.step(True)
        assert client.config["wifi"][0]["ssid"] == "home" and client.said == ["config"]


def test_the_one_that_is_tried_second_is_not_kept_again():
    with Board() as board, Clock().put_into(config_fallback) as clock:
        board.reach()
        before = read_file(board.kept)
        board.time += 1
        board.write(dict(GOOD, mqtt={"host": "wrong"}))
        client = FakeClient()
        watch = board.watch(client)
        clock.advance_ms(600001)
        watch.step(True)
        assert client.config["mqtt"]["host"] == "good"
        watch.acked = True
        assert watch.step(True) is None
        assert read_file(board.kept) == before


def test_no_turn_in_the_midst_of_an_update():
    with Board() as board, Clock().put_into(config_fallback) as clock:
        board.replace(mqtt={"host": "other"})
        client = FakeClient()
        watch = board.watch(client)
        client.job = client
        link = client.link
        clock.advance_ms(600001)
        assert watch.step(True) is watch and client.link is link


def test_the_trial_goes_on_behind_it():
    with Board() as board:
        client = FakeClient()
        trial = client.trial = FakeTrial()
        watch = board.watch(client)
        assert watch.step(True) is watch and not trial.acked
        watch.acked = True
        assert watch.step(True) is trial and trial.acked
        client.trial = trial = FakeTrial()
        board.time += 1
        watch = board.watch(client)
        trial.over = True
        assert watch.step(True) is watch
        watch.acked = True
        assert watch.step(True) is None


def test_a_cloud_that_answers_has_to_answer_another_identity():
    with Board() as board:
        board.replace(device_name="e")
        client = FakeClient()
        client.state.answered = True
        watch = board.watch(client)
        watch.acked = True
        assert watch.step(True) is watch
        watch.answered = True
        assert watch.step(True) is None
        assert config_fallback.read(board.kept)[0]["device_name"] == "e"


def test_another_cloud_may_be_one_that_never_answers():
    for changed in ({"mqtt": {"host": "other"}}, {"dialect": "aliyun"}):
        with Board() as board:
            board.replace(**changed)
            client = FakeClient()
            client.state.path = board.path + "/state.json"
            client.state.answered = True
            watch = board.watch(client)
            watch.acked = True
            assert watch.step(True) is None
            assert config_fallback.read(board.kept)[0] == dict(GOOD, **changed)
            # What the other cloud did says nothing of this one.
            assert json_file.load(client.state.path) == {} and not client.state.answered


def test_an_operator_may_do_without_the_answer():
    with Board() as board:
        board.reach()
        board.time += 1
        new = dict(GOOD, device_name="e", trial={"confirm": "broker"})
        board.write(new)
        client = FakeClient(check(new))
        client.state.answered = True
        watch = board.watch(client)
        watch.acked = True
        assert watch.step(True) is None
        assert client.state.answered


def test_what_the_first_one_was_told_says_nothing_of_the_second():
    with Board() as board, Clock().put_into(config_fallback) as clock:
        board.replace(device_name="e")
        client = FakeClient()
        client.state.answered = True
        watch = board.watch(client)
        watch.acked = True
        clock.advance_ms(600001)
        assert watch.step(True) is watch and client.config["device_name"] == "d"
        assert watch.step(True) is watch and not watch.acked


def test_what_a_bundle_overrides_is_not_kept():
    with Board() as board:
        write_file(board.path + "/bundle", b'{"mqtt": {"host": "its-own"}}')
        board.reach()
        assert config_fallback.read(board.kept) == (GOOD, {"mqtt": {"host": "its-own"}})
        os.remove(board.path + "/bundle")
        assert config_fallback.read(board.kept) == (GOOD,)


def test_the_time_of_a_file_on_littlefs_is_of_its_last_write():
    # What tells a change from damage.
    if not hasattr(vfs, "VfsLfs2"):
        return
    blocks = bytearray(4096 * 16)

    class Flash:
        def readblocks(self, n, buf, offset=0):
            buf[:] = blocks[n * 4096 + offset : n * 4096 + offset + len(buf)]

        def writeblocks(self, n, buf, offset=0):
            blocks[n * 4096 + offset : n * 4096 + offset + len(buf)] = buf

        def ioctl(self, op, arg):
            return {4: 16, 5: 4096}.get(op, 0)

    vfs.VfsLfs2.mkfs(Flash())
    vfs.mount(Flash(), "/lfs")
    try:
        write_file("/lfs/a", b"x" * 1000)
        written = os.stat("/lfs/a")[8]
        assert written > 0
        read_file("/lfs/a")
        os.rename("/lfs/a", "/lfs/b")
        assert os.stat("/lfs/b")[8] == written
    finally:
        vfs.umount("/lfs")
