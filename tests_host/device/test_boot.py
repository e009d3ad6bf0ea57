"""boot.py: what starts, how the starts of a trial are counted, and what a damaged bundle changes.

The file itself is executed, with the copies of bundlefs and the state in a folder of the test's.
"""

import binascii
import hashlib
import json
import os
import sys

import vfs
from bundles import bundle, sealed

from ivota import activation, failure_record, json_file, result_report
from ivota import state as state_file
from ivota.state import load
from support import installed, raises, read_file, tmp_dir, write_file

HERE = __file__.rsplit("/", 1)[0]
BOOT = HERE + "/../../boot.py"
BUNDLEFS = HERE + "/../../lib/bundlefs.py"


class FakeMachine:
    PWRON_RESET = 1
    HARD_RESET = 2
    WDT_RESET = 3
    DEEPSLEEP_RESET = 4
    SOFT_RESET = 5

    def __init__(self, cause, most=1 << 30):
        self._cause = cause
        self._most = most
        self.watchdogs = []

    def reset_cause(self):
        return self._cause

    def WDT(self, timeout):
        if timeout > self._most:
            raise ValueError("timeout")
        self.watchdogs.append(timeout)


class FakePartition:
    """What is used of esp32.Partition; `label` is of the slot that runs, None without slots."""

    RUNNING = 1
    label = None

    def __init__(self, which):
        assert which == 1
        if self.label is None:
            raise OSError(2)

    def info(self):
        return (0, 16, 65536, 1572864, self.label, False)


class FakeEsp32:
    Partition = FakePartition


class Board:
    """A board's flash: two bundles, the state file, two copies of bundlefs in root/ and lib/."""

    def __enter__(self):
        self._tmp = tmp_dir()
        self.path = self._tmp.__enter__()
        self._sys_path = list(sys.path)
        for version in ("0.1", "0.2"):
            app = ("VERSION = '%s'\n" % version).encode()
            write_file(self.bin(version), bundle([("app.py", app)], version))
        source = read_file(BUNDLEFS)
        assert source == sealed(source)
        place = b'"/ivota-state.json"'
        assert place in source
        self.source = sealed(source.replace(place, repr(self.path + "/state.json").encode()))
        for folder in ("root", "lib"):
            os.mkdir(self.path + "/" + folder)
            self.copy(folder, self.source)
        self.machine = None
        self.frozen = ".frozen"
        return self

    def copy(self, folder, data):
        write_file("%s/%s/bundlefs.py" % (self.path, folder), data)

    def __exit__(self, *exc):
        self.off()
        self._tmp.__exit__(*exc)

    def bin(self, version):
        return "%s/%s.bin" % (self.path, version)

    def remove(self, version):
        os.remove(self.bin(version))

    def damage(self, version):
        write_file(self.bin(version), b"\xff" * 3000)

    def save(self, **state):
        json_file.save(self.path + "/state.json", state)

    def die(self, why="ValueError x"):
        """The version on trial records what it died of."""
        state = load(self.path + "/state.json")
        state.trial["died"] = why
        state_file.save(state)

    def trial(self, previous="0.1"):
        state = load(self.path + "/state.json")
        state.active = previous and self.bin(previous)
        trial = {"version": "0.2", "md5sum": self.md5("0.2"), "limits": [3, 10]}
        activation.activate(state, self.bin("0.2"), trial)

    def image(self, label="ota_1", **more):
        """On trial is an image, in a slot; a bundle ran before it."""
        trial = {"version": "2.0", "md5sum": "5" * 32, "limits": [3, 10], "slot": label}
        self.save(previous=self.bin("0.1"), trial=trial, **more)

    def state(self):
        return json_file.load(self.path + "/state.json") or {}

    def md5(self, version):
        digest = hashlib.md5(read_file(self.bin(version))).digest()
        return binascii.hexlify(digest).decode()

    def off(self):
        sys.modules.pop("bundlefs", None)
        sys.path[:] = self._sys_path
        try:
            vfs.umount("/app")
        except OSError:
            pass

    def boot(self, cause=FakeMachine.PWRON_RESET, slot=None, most=1 << 30):
        """The version that is mounted after a start; None for the factory package alone."""
        self.off()
        source = read_file(BOOT).decode()
        root, lib = self.path + "/root", self.path + "/lib"
        for given, ours in (
            ('("/", "/lib")', repr((root, lib))),
            ('("/lib", "/")', repr((lib, root))),
            ('os.listdir("/")', "os.listdir(%r)" % root),
            ('".frozen"', repr(self.frozen)),
        ):
            assert given in source
            source = source.replace(given, ours)
        self.machine = FakeMachine(cause, most)
        # Without the checkout's own bundlefs.
        before = [part for part in sys.path if part[-4:] != "/lib"]
        sys.path[:] = before
        self.left = {"__name__": "boot"}
        FakePartition.label = slot
        with installed("machine", self.machine), installed("esp32", FakeEsp32):
            exec(source, self.left)
        assert [part for part in sys.path if part[:4] != "/app"] == before
        if "/app" not in sys.path:
            assert "/app/lib" not in sys.path
            return None
        assert sys.path[:2] == ["/app", "/app/lib"]
        sys.path[:] = sys.path[:2] + self._sys_path
        with open("/app/ivota.json") as file:
            return json.load(file)["version"]


def test_it_is_short_and_takes_nothing_of_ours_but_bundlefs():
    lines = read_file(BOOT).decode().rstrip().split("\n")
    assert len(lines) <= 73
    imported = [line.split() for line in lines if line.lstrip().startswith(("import ", "from "))]
    assert sorted(words[1] for words in imported) == ["bundlefs", "os", "sys"]


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
        both = {"active": board.bin("0.2"), "previous": board.bin("0.1")}
        for damage in (board.damage, board.remove):
            board.save(**both)
            damage("0.2")
            for _ in range(2):
                # For good: the cloud may send it anew, under the same name.
                assert board.boot() == "0.1"
                assert board.state()["active"] == board.bin("0.1")
                assert not board.state()["previous"] and "ended" not in board.state()


def test_with_a_damaged_one_goes_its_report():
    with Board() as board:
        both = {"active": board.bin("0.2"), "previous": board.bin("0.1")}
        board.damage("0.2")
        board.save(outbox="done of 0.2", **both)
        assert board.boot() == "0.1"
        assert not board.state()["outbox"]
        # In a trial it is of another version.
        board.save(outbox="fail of 0.3", trial={"version": "0.2", "limits": [3, 10]}, **both)
        assert board.boot() == "0.1"
        assert board.state()["outbox"] == "fail of 0.3"


def test_a_bundle_that_is_not_what_was_installed_leaves_its_place():
    with Board() as board:
        whole = read_file(board.bin("0.2"))
        sums = {board.bin(version): board.md5(version) for version in ("0.1", "0.2")}
        for place in range(0, len(whole), len(whole) // 20):
            board.save(active=board.bin("0.2"), previous=board.bin("0.1"), sums=sums)
            assert board.boot() == "0.2"
            damaged = bytearray(whole)
            damaged[place] ^= 4
            write_file(board.bin("0.2"), damaged)
            assert board.boot() == "0.1"
            write_file(board.bin("0.2"), whole)


def test_the_sum_of_the_previous_one_is_known_too():
    with Board() as board:
        sums = {board.bin("0.1"): "5" * 32, board.bin("0.2"): "5" * 32}
        board.save(active=board.bin("0.2"), previous=board.bin("0.1"), sums=sums)
        assert board.boot() is None


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
        assert state["power_boots"] == 1 and "starts" not in state
        assert state["trial"] and state["active"] == board.bin("0.2")


def test_the_third_recorded_death_is_the_end_and_rejects():
    with Board() as board:
        board.trial()
        for starts in (0, 1, 2):
            assert board.boot(FakeMachine.HARD_RESET) == "0.2"
            assert board.state().get("starts", 0) == starts
            board.die("ValueError %d" % starts)
        assert [board.boot(FakeMachine.HARD_RESET) for _ in range(2)] == ["0.1"] * 2
        ended = board.state()["ended"]
        assert ended["version"] == "0.2" and ended["reject"] and "crash" in ended["why"]
        assert ended["died"] == ["ValueError 2"]
        assert board.state()["trial"] is None and board.state()["previous"] is None
        assert board.state()["active"] == board.bin("0.1")


def test_the_watchdog_counts_as_a_crash_but_rejects_only_with_a_recorded_death():
    for died in (False, True):
        with Board() as board:
            board.trial()
            # On rp2 the reset after the installation has this cause too.
            assert board.boot(FakeMachine.WDT_RESET) == "0.2"
            if died:
                board.die()
            found = [board.boot(FakeMachine.WDT_RESET) for _ in range(4)]
            assert found == ["0.2"] * 2 + ["0.1"] * 2
            ended = board.state()["ended"]
            assert ended["reject"] is died and "crash" in ended["why"]


def test_no_other_reset_is_a_crash():
    # USB, a power glitch, JTAG: cause 0 on esp32, which calls a brown-out a power-on.
    machine = FakeMachine
    for cause in (0, machine.PWRON_RESET, machine.DEEPSLEEP_RESET, machine.SOFT_RESET):
        for died in (False, True):
            with Board() as board:
                board.trial()
                if died:
                    board.die()
                found = [board.boot(cause) for _ in range(12)]
                assert found == ["0.2"] * 10 + ["0.1"] * 2, cause
                ended = board.state()["ended"]
                assert not ended["reject"] and "restarted" in ended["why"]


def test_a_hard_reset_without_a_recorded_death_is_no_crash():
    """Its cause is the one of `machine.reset()`, of mpremote's reset too."""
    with Board() as board:
        board.trial()
        found = [board.boot(FakeMachine.HARD_RESET) for _ in range(11)]
        assert found == ["0.2"] * 10 + ["0.1"]
        assert not board.state()["ended"]["reject"]


def test_a_death_is_the_evidence_of_one_crash():
    with Board() as board:
        board.trial()
        board.boot()
        board.die()
        assert [board.boot(FakeMachine.HARD_RESET) for _ in range(8)] == ["0.2"] * 8
        assert (board.state()["starts"], board.state()["power_boots"]) == (1, 8)


def test_the_limits_are_the_trials_own():
    with Board() as board:
        for starts, boots in ((1, 3), (7, 2)):
            board.trial()
            state = board.state()
            state["trial"]["limits"] = [starts, boots]
            board.save(**state)
            board.boot()
            assert [board.boot(3) for _ in range(starts)] == ["0.2"] * (starts - 1) + ["0.1"]
            board.trial()
            state["starts"] = 0
            board.save(**state)
            assert [board.boot() for _ in range(boots + 1)] == ["0.2"] * boots + ["0.1"]


def test_given_up_with_nothing_before_it():
    with Board() as board:
        board.trial(None)
        found = [board.boot(3) for _ in range(5)]
        assert found == ["0.2"] * 3 + [None] * 2
        assert board.state()["ended"]["version"] == "0.2"


def test_a_damaged_bundle_in_its_trial_is_given_up():
    with Board() as board:
        for damage in (board.damage, board.remove):
            board.trial()
            damage("0.2")
            assert board.boot(2) == "0.1"
            state = board.state()
            assert state["active"] == board.bin("0.1") and state["trial"] is None
            # It is the flash that is at fault: fetched once more it may be as good as any.
            assert not state["ended"]["reject"] and "damaged" in state["ended"]["why"]
            assert board.boot() == "0.1"
            write_file(board.bin("0.2"), bundle([("app.py", b"")], "0.2"))


def test_one_that_was_never_an_archive_is_rejected():
    with Board() as board:
        board.damage("0.2")
        board.trial()
        assert board.boot(2) == "0.1"
        assert board.state()["ended"]["reject"]


def test_a_trial_damaged_on_both_sides():
    with Board() as board:
        board.trial()
        board.damage("0.1")
        board.damage("0.2")
        assert board.boot(2) is None
        assert board.state()["ended"]["version"] == "0.2"


def test_the_state_takes_no_more_of_the_heap_than_it_has():
    """A read of 16 KiB takes as much, in one piece: on a small heap none seemed to be there."""
    spy = b"""
_open = open
class _State:
    def __init__(self, file):
        self._file = file
    def __enter__(self):
        return self
    def __exit__(self, *error):
        self._file.close()
    def read(self, n=-1):
        if n >= 0:
            raise MemoryError
        return self._file.read()
    def write(self, data):
        return self._file.write(data)
def open(name, mode="r"):
    return _State(_open(name, mode)) if ".json" in name else _open(name, mode)
"""
    with Board() as board:
        board.trial()
        board.copy("root", sealed(board.source + spy + b"\n# -"))
        assert board.boot(2) == "0.2"
        write_file(board.path + "/state.json", b" " * 16385)
        assert board.boot(2) is None


class Seen:
    starts = None
    dogs = None


def test_the_count_is_on_flash_and_the_dog_awake_before_the_version_starts():
    spy = b"""
_start = start
def start(path, sums):
    import machine, seen
    seen.starts, seen.dogs = load()["power_boots"], machine.watchdogs
    _start(path, sums)
"""
    with Board() as board:
        board.trial()
        board.copy("root", sealed(board.source + spy + b"\n# -"))
        with installed("seen", Seen):
            assert board.boot(2) == "0.2"
        assert Seen.starts == 1 and Seen.dogs == [60000]


def test_a_trial_has_the_longest_watchdog_that_the_port_takes():
    for most, dogs in ((1 << 30, [60000]), (8388, [8000]), (100, [])):
        with Board() as board:
            board.trial()
            assert board.boot(2, most=most) == "0.2"
            assert board.machine.watchdogs == dogs


def test_no_watchdog_after_a_soft_reset():
    with Board() as board:
        for image in (False, True):
            board.image() if image else board.trial()
            board.boot(FakeMachine.SOFT_RESET, "ota_1")
            assert board.machine.watchdogs == []


def test_no_watchdog_outside_a_trial():
    with Board() as board:
        board.save(active=board.bin("0.2"), previous=board.bin("0.1"))
        board.boot(3)
        assert board.machine.watchdogs == []
        board.trial()
        assert [board.boot(3) for _ in range(4)][-1] == "0.1"
        assert board.machine.watchdogs == []


def test_the_note_about_a_trials_watchdog_ends_with_what_stops_it():
    with Board() as board:
        for cause in range(6):
            for armed in (1, 2):
                board.save(active=board.bin("0.2"), previous=board.bin("0.1"), armed=armed)
                assert board.boot(cause) == "0.2"
                stays = armed == 2 or cause == FakeMachine.SOFT_RESET
                assert board.state()["armed"] == (armed if stays else 0)
        # A flash that can't be written keeps nothing from starting.
        board.save(active=board.bin("0.2"), armed=1)
        os.mkdir(board.path + "/state.json~")
        assert board.boot(1) == "0.2"
        os.rmdir(board.path + "/state.json~")


def test_a_port_that_knows_few_resets():
    kinds = ("HARD_RESET", "DEEPSLEEP_RESET", "SOFT_RESET")
    with Board() as board:
        board.trial()
        kept = {kind: getattr(FakeMachine, kind) for kind in kinds}
        for kind in kinds:
            delattr(FakeMachine, kind)
        try:
            for cause, key in ((1, "power_boots"), (3, "starts")):
                assert board.boot(cause) == "0.2"
                assert board.state()[key] == 1
        finally:
            for kind in kinds:
                setattr(FakeMachine, kind, kept[kind])


# Images


def test_an_image_in_its_trial_mounts_nothing_and_is_counted():
    with Board() as board:
        board.image()
        assert board.boot(2, "ota_1") is None
        state = board.state()
        assert state["power_boots"] == 1 and state["trial"]["version"] == "2.0"
        assert state["previous"] == board.bin("0.1") and not state.get("active")
        assert board.machine.watchdogs == [60000]


def test_an_image_that_never_ran_leaves_no_word():
    # The power went before the boot loader was told, or the image died before boot.py.
    for cause in (1, 2, 3):
        with Board() as board:
            board.image()
            assert board.boot(cause, "ota_0") == "0.1"
            state = board.state()
            assert state["active"] == board.bin("0.1")
            assert not state["trial"] and not state["previous"] and "ended" not in state
            assert board.machine.watchdogs == []


def test_an_image_that_the_boot_loader_took_back():
    for key in ("starts", "power_boots"):
        with Board() as board:
            board.image(**{key: 1})
            assert board.boot(1, "ota_0") == "0.1"
            ended = board.state()["ended"]
            assert ended["version"] == "2.0" and not ended["reject"]
            assert "boot loader" in ended["why"]


def test_a_trial_of_an_image_on_a_board_without_slots():
    with Board() as board:
        board.image()
        assert board.boot(1, None) == "0.1"


def test_a_bundle_on_a_board_with_slots():
    with Board() as board:
        board.trial()
        assert [board.boot(3, "ota_1") for _ in range(4)] == ["0.2"] * 3 + ["0.1"]


# Damage to what boot.py needs


def copies_of(source):
    """Kinds of damage, each with a copy of bundlefs that has it; None is a missing one."""
    half = len(source) // 2
    yield "missing", None
    yield "empty", b""
    yield "truncated", source[:half]
    yield "without its last line", source[: source.rindex(b"#")]
    yield "without start", sealed(source.replace(b"def start(", b"def stop("))
    yield "erased", b"\xff" * len(source)
    yield "zeroes", bytes(len(source))
    yield "garbage", os.urandom(3000)
    yield "no Python", sealed(b"def (:\n" + source)
    yield "raises", sealed(source.replace(b"import io\n", b"raise ValueError\n"))
    yield "lacks a module", sealed(source.replace(b"import io\n", b"import gone\n"))
    for place in range(7, len(source), len(source) // 40):
        flipped = bytearray(source)
        flipped[place] ^= 1
        yield "flipped at %d" % place, bytes(flipped)


def test_one_damaged_copy_of_bundlefs_does_not_matter():
    with Board() as board:
        board.save(active=board.bin("0.2"), previous=board.bin("0.1"))
        before = board.state()
        for folder in ("root", "lib"):
            for what, data in copies_of(board.source):
                if data is None:
                    os.remove("%s/%s/bundlefs.py" % (board.path, folder))
                else:
                    board.copy(folder, data)
                assert board.boot() == "0.2", (folder, what)
                assert board.state() == before
            board.copy(folder, board.source)


def test_changed_line_ends_are_no_damage():
    with Board() as board:
        board.save(active=board.bin("0.2"))
        os.remove(board.path + "/lib/bundlefs.py")
        board.copy("root", board.source.replace(b"\n", b"\r\n"))
        assert board.boot() == "0.2"


def test_without_bundlefs_the_factory_package_runs():
    with Board() as board:
        board.save(active=board.bin("0.2"))
        before = board.state()
        for folder in ("root", "lib"):
            board.copy(folder, b"")
        assert board.boot() is None
        assert board.state() == before


def test_nothing_is_left_in_the_heap():
    with Board() as board:
        for state in ({}, {"active": board.bin("0.2")}):
            board.save(**state)
            board.boot()
            left = {name for name in board.left if name[:2] != "__"}
            assert left <= {"os", "sys", "folder", "name", "error"}, left
            kept = {name for name in dir(sys.modules["bundlefs"]) if name[:2] != "__"}
            assert {"FORMATS", "VERSION"} <= kept  # what an updater asks
            if not state:
                assert len(kept) == 2, kept
        for name in ("load", "save", "start", "slot", "watch", "crashed", "reset", "free"):
            assert name not in kept


def test_frozen_into_a_firmware_bundlefs_looks_at_no_file():
    """There `__file__` is a bare name, which a damaged file on flash may have, too."""
    with Board() as board:
        source = board.source[: board.source.rindex(b"#")] + b"# without a sum\n"
        board.copy("root", source)
        for there in (True, False):
            names = {"__name__": "bundlefs", "__file__": "bundlefs.py"}
            before = os.getcwd()
            os.chdir(board.path + ("/root" if there else ""))
            try:
                exec(source.decode(), names)
            finally:
                os.chdir(before)
            assert callable(names["start"])
        with raises(ValueError):
            names["__file__"] = board.path + "/root/bundlefs.py"
            exec(source.decode(), names)


def test_the_firmwares_own_bundlefs_comes_first():
    with Board() as board:
        board.save(active=board.bin("0.2"))
        os.mkdir(board.path + "/frozen")
        board.copy("frozen", board.source)
        for folder in ("root", "lib"):
            board.copy(folder, sealed(board.source.replace(b"import io\n", b"raise SystemExit\n")))
        board.frozen = board.path + "/frozen"
        assert board.boot() == "0.2"


def test_only_the_temporary_of_the_state_exists():
    with Board() as board:
        board.save(active=board.bin("0.2"))
        os.rename(board.path + "/state.json", board.path + "/state.json~")
        assert board.boot() == "0.2"


def test_states_that_are_junk():
    with Board() as board:
        board.save(active=board.bin("0.2"), previous=board.bin("0.1"))
        whole = read_file(board.path + "/state.json")
        active = b'{"active": "%s"}' % board.bin("0.2").encode()
        junks = [b"", b"{", b"null", b"5", b"[]", b'"x"', b"\xff\xff", b"true", active]
        junks += [b"\0" * 5000, b"\xff" * 5000, os.urandom(100000), b"[" * 100000]
        junks += [whole[:n] for n in range(0, len(whole), 7)]
        junks += [whole[:n] + bytes([whole[n] ^ 2]) + whole[n + 1 :] for n in range(len(whole))]
        for junk in junks:
            write_file(board.path + "/state.json", junk)
            assert board.boot() is None, junk
        write_file(board.path + "/state.json", whole)
        assert board.boot() == "0.2"


def test_a_huge_state_is_none():
    with Board() as board:
        board.save(active=board.bin("0.2"), rejected=["x" * 30000])
        assert board.boot() is None


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
        before = board.state()
        os.mkdir(board.path + "/state.json~")
        # A start that can't be counted is none: else a version that crashes would do so for ever.
        assert board.boot(2) is None
        assert board.state() == before
        os.rmdir(board.path + "/state.json~")
        assert board.boot(2) == "0.2"


def test_what_the_client_makes_of_it():
    # boot.py writes what State reads, and the other way round.
    with Board() as board:
        board.trial()
        for _ in range(4):
            board.boot(3)
        state = load(board.path + "/state.json")
        assert state.active == board.bin("0.1") and state.trial is None
        assert state.ended["version"] == "0.2"
        result_report.post(state, "FAIL", state.ended["md5sum"], state.ended["why"])
        assert board.boot(2) == "0.1"
        assert failure_record.reason(load(board.path + "/state.json"), board.md5("0.2"))
