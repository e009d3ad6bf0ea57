"""A verified firmware becomes what starts next, or is refused with a reason."""

import os

from bundles import FOLDER, bundle, facts, file, image, named, tree

from ivota import OtaError
from ivota.activation import Installer
from ivota.bundle_check import examine
from ivota.result_codes import FAILED
from ivota.state import load
from support import raises, tmp_dir, write_file

FILES = [
    ("app.py", b"def main():\n    pass\n"),
    ("data/x.bin", bytes(range(256)) * 10),
    ("lib/y.py", b""),
]


class FakeFirmware:
    def __init__(self, path, version="0.2"):
        self.path = path
        self.version = version
        self.md5 = "0" * 32
        self.echo = {"task_id": 5}
        self.slot = None


class FakeClient:
    config = {"trial": {"starts": 3, "power_boots": 10}, "keys": []}
    restart = False
    exits = 0

    def __init__(self, state):
        self.state = state

    def exit(self):
        self.exits += 1


def steps_of(archive, version="0.2"):
    with tmp_dir() as path:
        write_file(path + "/b.bin", archive)
        return sum(1 for _ in examine(path + "/b.bin", version))


def refused(archive, part="", version="0.2"):
    with raises(OtaError, part) as caught:
        steps_of(archive, version)
    assert caught.value.code == FAILED and not caught.value.again
    assert str(caught.value).startswith("the bundle can't be used")


class Setup:
    """An `Installer` on a folder of its own."""

    def __init__(self, data, version="0.2"):
        self._data = data
        self._version = version

    def __enter__(self):
        self._tmp = tmp_dir()
        self.path = self._tmp.__enter__()
        write_file(self.path + "/fw.bin", self._data)
        self.state = load(self.path + "/state.json")
        self.state.active = "/firmware/0.1.bin"
        self.client = FakeClient(self.state)
        self.installer = Installer(self.client)
        self.firmware = FakeFirmware(self.path + "/fw.bin", self._version)
        return self

    def __exit__(self, *exc):
        self._tmp.__exit__(*exc)

    def check(self):
        steps = 0
        while not self.installer.check(self.firmware):
            steps += 1
        return steps


def test_a_good_bundle_takes_a_step_for_each_file_and_folder():
    assert steps_of(bundle(FILES)) == len(FILES) + 1 + 2


def test_one_that_the_boot_files_do_not_start():
    """Told by its first bytes, before anything else of it is looked at."""
    for changed, why in (
        ({"format": 3}, "format 3"),
        ({"updater_min": "9"}, "needs ivota 9, but"),
    ):
        with Setup(bundle(FILES, **changed)[:200]) as setup:
            with raises(OtaError, why):
                setup.check()


def test_filler_behind_the_end_is_fine():
    steps_of(bundle(FILES) + b"\x55" * 10000)


def test_compiled_applications():
    steps_of(bundle([("app.mpy", b"M\x06")]))


def test_another_version():
    refused(bundle(FILES), "0.2", version="0.3")


def test_another_format():
    for value in (1, 3, "2", None, [2]):
        refused(bundle(FILES, format=value), "format")


def test_a_truncated_image():
    archive = bundle(FILES)
    for n in (3, 4, 60, 600, len(archive) - 1):
        refused(archive[:n])


def test_paths_that_leave_it():
    for name in ("../x", "a/../x", "./x", "a/.", "..", "a\\b", "..."):
        refused(bundle(sorted(FILES + [(name, b"evil")])), "path")


def test_files_that_are_not_in_order():
    refused(bundle(FILES[1:] + FILES[:1]), "order")
    refused(bundle(FILES + FILES[-1:]), "order")
    # Only ivota.json at the root may come before others.
    inner = [("lib/ivota.json", b"{}"), ("lib/a", b"")]
    refused(bundle(FILES[:1] + inner), "order")


def test_how_many_files_a_board_takes():
    names = ["app.py"] + ["f%03d" % n for n in range(256)]
    assert steps_of(bundle([(name, b"") for name in names[:256]])) == 257
    refused(bundle([(name, b"") for name in names]), "more than 256 files")


def test_names_that_littlefs_takes():
    names = ["app.py", "data/\u65e5\u672c.txt", "logo (1).png", "M\u00fcller.txt", "\U0001f600"]
    files = [(name, name.encode()) for name in sorted(names)]
    assert steps_of(bundle(files)) == len(names) + 2


def test_no_application():
    refused(bundle([("main.py", b"")]), "app.py")
    refused(bundle([("lib/app.py", b"")]), "app.py")
    refused(image(file("ivota.json", facts()) + named(FOLDER, "app.py", b"")), "app.py")


def test_what_comes_first_is_not_ivota_json():
    for name in ("app.py", "ivota.jsonx", "ivota.jso"):
        refused(image(tree([(name, facts()), ("app.py", b"")])), "ivota.json")
    refused(image(named(FOLDER, "ivota.json", file("x", facts()))), "ivota.json")
    refused(image(file("ivota.json", facts(more="x" * 1024)) + file("app.py", b"")), "ivota.json")


def test_facts_of_any_shape():
    for said in (
        b"junk",
        b"[]",
        b"5",
        b"null",
        b'"x"',
        b"{}",
        b'{"format": 2}',
        b"\xff",
        b"[" * 400,
        b"",
    ):
        refused(image(file("ivota.json", said) + file("app.py", b"")))


def test_a_second_ivota_json():
    # It could not be mounted: a name is there once.
    refused(image(file("ivota.json", facts()) * 2 + file("app.py", b"")), "twice")
    refused(bundle(sorted(FILES + [("ivota.json", b"{}")])), "twice")


def test_no_archive_at_all():
    refused(b"junk" * 1000)
    refused(b"")


def test_a_file_that_cannot_be_read():
    with raises(OtaError):
        for _ in examine("/none/b.bin", "0.2"):
            pass


# The installer


def test_a_bundle_becomes_active_with_one_write():
    with Setup(bundle(FILES)) as setup:
        assert setup.check() >= 5
        assert not os.listdir(setup.path).count("state.json")
        setup.installer(setup.firmware)
        again = load(setup.path + "/state.json")
        assert again.active == setup.path + "/fw.bin"
        assert again.previous == "/firmware/0.1.bin"
        assert again.trial == {
            "version": "0.2",
            "md5sum": "0" * 32,
            "limits": [3, 10],
            "echo": {"task_id": 5},
        }
        assert setup.client.restart and setup.client.exits == 1


def test_without_an_echo_the_trial_has_none():
    for echo in (None, {}):
        with Setup(bundle(FILES)) as setup:
            setup.firmware.echo = echo
            setup.installer(setup.firmware)
            assert sorted(setup.state.trial) == ["limits", "md5sum", "version"]


def test_a_bundle_that_says_who_the_board_is():
    for config, part in (
        (b'{"product_id": "Q"}', "must not set product_id"),
        (b'{"version": "1", "device_name": ""}', "must not set device_name"),
        (b'{"device\\u005fsecret": "c2VjcmV0"}', "must not set device_secret"),
        (b"[1]", "not a JSON object"),
        (b"nonsense", "not a JSON object"),
        (b"", "not a JSON object"),
        (b"\xff", "not a JSON object"),
    ):
        files = [FILES[0], ("config.json", config)] + FILES[1:]
        with Setup(bundle(files)) as setup:
            with raises(OtaError, part) as caught:
                setup.check()
            assert caught.value.code == FAILED and not caught.value.again
            assert not os.listdir(setup.path).count("state.json")
            assert "c2VjcmV0" not in str(caught.value)


def test_a_bundle_that_configures_something_else():
    # Also what only the code in the bundle knows, and a null, which says nothing.
    for config in (b"{}", b'{"mqtt": {"host": "h"}, "device_name": null}', b'{"a_new_key": 5}'):
        files = [FILES[0], ("config.json", config), ("data/config.json", b'{"product_id": "x"}')]
        with Setup(bundle(files)) as setup:
            assert setup.check()


def test_a_bad_bundle_changes_nothing():
    with Setup(bundle(FILES, version="9")) as setup:
        with raises(OtaError):
            setup.check()
        assert os.listdir(setup.path) == ["fw.bin"]
        assert not setup.client.restart


def test_an_image_is_refused_clearly():
    with Setup(b"\xe9" + b"\0" * 1000) as setup:
        with raises(OtaError, "image") as caught:
            setup.check()
        assert caught.value.code == FAILED


def test_anything_else_without_a_callback():
    for data in (b"motor firmware", b"", b"iv"):
        with Setup(data) as setup:
            with raises(OtaError, "on_firmware is not set"):
                setup.check()
