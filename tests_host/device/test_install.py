"""A verified firmware becomes what starts next, or is refused with a reason."""

import os

from bundles import bundle, entry, header, member

from ivota import OtaError
from ivota.codes import FAILED
from ivota.examine import examine_bundle
from ivota.install import Installer
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
        return sum(1 for _ in examine_bundle(path + "/b.bin", version))


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


def test_a_good_bundle():
    assert steps_of(bundle(FILES)) >= 6


def test_each_step_digests_a_chunk_at_most():
    files = FILES + [("z", b"x" * 51200)]
    assert steps_of(bundle(files)) >= 100


def test_filler_behind_the_end_is_fine():
    steps_of(bundle(FILES) + b"\x55" * 10000)


def test_texts_that_look_like_the_end_of_the_list():
    """It is read in pieces, by its brackets: not by those in a text."""
    names = ('b"]}', "c[{", "d]", "e}")
    files = [("app.py", b"")] + [(name, name.encode()) for name in names]
    for application in ('"}]', '\\"', '{"files": [', "\\"):
        assert steps_of(bundle(files, application=application)) == len(names)
        listed = [entry(name, data) for name, data in files]
        refused(bundle(files, application=application, files=listed[:-1]), "e} is not listed")


def test_compiled_applications():
    steps_of(bundle([("app.mpy", b"M\x06")]))


def test_another_version():
    refused(bundle(FILES), "0.2", version="0.3")


def test_another_format():
    for value in (2, "1", None, [1]):
        refused(bundle(FILES, format=value), "format")


def test_a_damaged_file():
    archive = bytearray(bundle(FILES))
    at = bytes(archive).index(bytes(range(256))) + 700
    archive[at] ^= 1
    refused(bytes(archive), "data/x.bin")


def test_a_file_of_another_length():
    listed = [entry(name, data) for name, data in FILES]
    listed[1]["size"] -= 1
    refused(bundle(FILES, files=listed), "length")


def test_a_missing_file():
    listed = [entry(name, data) for name, data in FILES]
    refused(bundle(FILES[:2], files=listed), "listed")
    refused(bundle(FILES[:2] + [("other", b"")], files=listed))


def test_a_file_that_is_not_listed():
    listed = [entry(name, data) for name, data in FILES]
    refused(bundle(FILES + [("more.py", b"evil")], files=listed), "listed")


def test_a_file_listed_twice_hides_no_other():
    listed = [entry(name, data) for name, data in FILES]
    refused(bundle(FILES + [("more.py", b"evil")], files=listed + listed[:1]))


def test_a_truncated_archive():
    archive = bundle(FILES)
    for n in (600, 1024, 1600, 2100, 4000, len(archive) - 1600):
        refused(archive[:n])


def test_paths_that_leave_it():
    for name in ("../x", "/etc/x", "a/../x", "a//b", "./x", "a/.", "..", "a\\b", "a/"):
        refused(bundle(sorted(FILES + [(name, b"evil")])), "path")


def test_files_that_are_not_in_order():
    refused(bundle(FILES[1:] + FILES[:1]), "order")


def test_how_many_files_a_board_takes():
    for count, kind in ((256, None), (257, OtaError)):
        with tmp_dir() as path:
            with open(path + "/b.bin", "wb") as file:
                names = ["app.py"] + ["f%03d" % n for n in range(count - 1)]
                file.write(bundle([], end=b"", files=[entry(name, b"") for name in names]))
                for name in names:
                    file.write(member(name, b""))
            try:
                for _ in examine_bundle(path + "/b.bin", "0.2"):
                    pass
                assert kind is None
            except OtaError as error:
                assert kind and "more than 256 files" in error.message, error.message


def test_names_that_littlefs_takes():
    names = ["app.py", "data/\u65e5\u672c.txt", "logo (1).png", "M\u00fcller.txt", "\U0001f600"]
    files = [(name, name.encode()) for name in sorted(names)]
    assert steps_of(bundle(files)) == len(names)


def test_no_application():
    refused(bundle([("main.py", b"")]), "app.py")
    refused(bundle([("lib/app.py", b"")]), "app.py")


def test_no_head():
    refused(member("app.py", b"") + bytes(1024))
    refused(member("ivota.json", b"junk") + member("app.py", b"") + bytes(1024))
    for head in (b"[]", b"5", b"null", b'"x"', b"{}", b'{"format": 1}', b"\xff", b"[" * 400):
        refused(member("ivota.json", head) + member("app.py", b"") + bytes(1024))


def test_a_list_of_another_name():
    # What runs would not know its version.
    good = bundle(FILES)
    assert steps_of(good)
    for name in ("ivota.jsonx", "..", "../ivota.json", "ivota.json/../x"):
        size = int(good[124:135], 8)
        refused(header(name, size) + good[512:], "list")


def test_a_list_of_no_length_or_longer_than_any_flash():
    for size in (b"10000000000", b"77777777777", b"777777777777", b""):
        refused(header("ivota.json", size) + bundle(FILES)[512:])


def test_a_second_list():
    # It could not be mounted: a name is there once.
    refused(bundle(sorted(FILES + [("ivota.json", b"{}")])), "path")


def test_lists_of_any_shape():
    good = [entry(name, data) for name, data in FILES]
    for value in (None, 5, "abc", {}, {"a": 1}, [1, 2, 3], [None] * 3, [[]] * 3, [{}] * 3):
        refused(bundle(FILES, files=value))
    for key in ("path", "size", "sha256"):
        for value in (None, 5.5, [], {}, "", "x", -1):
            refused(bundle(FILES, files=[dict(good[0], **{key: value})] + good[1:]))
        short = dict(good[0])
        del short[key]
        refused(bundle(FILES, files=[short] + good[1:]))


def test_links_and_folders():
    refused(bundle(FILES, end=b"") + header("link", 0, b"2") + bytes(1024))
    refused(bundle(FILES, end=b"") + header("folder/", 0, b"5") + bytes(1024))


def test_no_archive_at_all():
    refused(b"junk" * 1000)
    refused(b"")


def test_a_file_that_cannot_be_read():
    with raises(OtaError):
        for _ in examine_bundle("/none/b.bin", "0.2"):
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
        (b'{"product_id": "Q"}', "sets product_id"),
        (b'{"version": "1", "device_name": ""}', "sets device_name"),
        (b'{"device\\u005fsecret": "c2VjcmV0"}', "sets device_secret"),
        (b"[1]", "not an object"),
        (b"nonsense", "not an object"),
        (b"", "not an object"),
        (b"\xff", "not an object"),
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
            with raises(OtaError, "callback"):
                setup.check()
