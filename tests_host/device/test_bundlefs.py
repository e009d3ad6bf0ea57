"""A bundle as a file system: mounted for real, read, imported from; and what is refused."""

import errno
import json
import os
import sys

import vfs
from bundles import FILE, FOLDER, POINTER, bundle, file, image, integer, named, record, tree

import bundlefs
from ivota import OtaError, bundle_check
from support import raises, tmp_dir, write_file

FILES = [
    ("app.py", b"def main():\n    return 'ran'\n"),
    ("data/empty", b""),
    ("data/lines.txt", "eins\nzwei\nüber drei\n".encode()),
    ("lib/deep/er/x.bin", bytes(range(256)) * 5),
    ("lib/only_here_pkg/__init__.py", b"from only_here_pkg.inner import VALUE\n"),
    ("lib/only_here_pkg/inner.py", b"VALUE = 42\n"),
]


class Mounted:
    """`with Mounted(archive) as path:` mounts it there."""

    POINT = "/ivota-test-bundle"

    def __init__(self, archive):
        self._archive = archive

    def __enter__(self):
        self._tmp = tmp_dir()
        path = self._tmp.__enter__() + "/b.bin"
        write_file(path, self._archive)
        vfs.mount(bundlefs.Bundle(path), self.POINT)
        self._path = list(sys.path)
        return self.POINT

    def __exit__(self, *exc):
        sys.path[:] = self._path
        vfs.umount(self.POINT)
        self._tmp.__exit__(*exc)


def refused(archive, part=""):
    with tmp_dir() as path:
        write_file(path + "/b.bin", archive)
        with raises(ValueError, part):
            bundlefs.Bundle(path + "/b.bin")
        # What can't be mounted does not pass the examination.
        with raises(OtaError):
            for _ in bundle_check.examine(path + "/b.bin", "0.2"):
                pass


def places(archive):
    """Every (kind, path, start, end) that a mount finds, and the same of the examination."""
    mounted = []

    def below(opened, folder, at, end):
        for kind, name, _, start, stop in bundlefs.records(opened, at, end):
            if kind == FOLDER:
                mounted.append((kind, folder + str(name, "utf-8"), start, stop))
                below(opened, folder + str(name, "utf-8") + "/", start, stop)
            else:
                start = bundlefs.content(opened, start, stop)
                mounted.append((kind, folder + str(name, "utf-8"), start, stop))

    with tmp_dir() as path:
        write_file(path + "/b.bin", archive)
        with open(path + "/b.bin", "rb") as opened:
            opened.seek(3)
            size = bundlefs.integer(opened)
            start = opened.tell()
            below(opened, "", start, start + size)
            walked = [
                (kind, (folder + "/" + str(name, "utf-8"))[1:], begin, stop)
                for kind, folder, name, begin, stop in bundle_check.walk(
                    opened, start, start + size
                )
            ]
    return mounted, walked


def test_the_examination_reads_what_is_mounted():
    mounted, walked = places(bundle(FILES))
    assert mounted == walked
    assert len(mounted) == len(FILES) + 1 + 5


def test_read():
    with Mounted(bundle(FILES)) as point:
        for name, data in FILES:
            with open(point + "/" + name, "rb") as file:
                assert file.read() == data
        with open(point + "/ivota.json") as file:
            assert json.load(file)["version"] == "0.2"


def test_read_in_pieces():
    data = FILES[3][1]
    with Mounted(bundle(FILES)) as point:
        with open(point + "/lib/deep/er/x.bin", "rb") as file:
            assert file.read(0) == b""
            assert file.read(7) == data[:7]
            assert file.tell() == 7
            buffer = bytearray(100)
            assert file.readinto(buffer) == 100
            assert buffer == data[7:107]
            assert file.seek(1270) == 1270
            assert file.readinto(buffer) == 10
            assert buffer[:10] == data[1270:]
            assert file.readinto(buffer) == 0
            assert file.read() == b""
            assert file.read(5) == b""


def test_seek():
    data = FILES[3][1]
    with Mounted(bundle(FILES)) as point:
        with open(point + "/lib/deep/er/x.bin", "rb") as file:
            assert file.seek(-5, 2) == 1275
            assert file.read() == data[-5:]
            assert file.seek(10) == 10
            assert file.seek(5, 1) == 15
            assert file.read(1) == data[15:16]
            # Not a byte of its neighbours can be reached.
            assert file.seek(99999) == 1280
            assert file.read(1) == b""
            assert file.seek(-99999, 1) == 0
            assert file.read(1) == data[:1]


def test_paths_with_the_same_key():
    """The index has the CRC of a path: another path may have it, and so may what lies beside."""
    same = ("plumless", "buckeroo")
    files = [(name, name.encode()) for name in sorted(same)]
    assert bundlefs._key(b"plumless") == bundlefs._key(b"buckeroo")
    with Mounted(bundle(files)) as point:
        for name, data in files:
            with open(point + "/" + name, "rb") as opened:
                assert opened.read() == data
    with Mounted(bundle(files[:1])) as point:
        with raises(OSError) as caught:
            os.stat(point + "/plumless")
        assert caught.value.errno == errno.ENOENT


def test_text():
    with Mounted(bundle(FILES)) as point:
        with open(point + "/data/lines.txt") as file:
            assert file.readline() == "eins\n"
            assert file.read() == "zwei\nüber drei\n"
        with open(point + "/data/lines.txt") as file:
            assert [line for line in file] == ["eins\n", "zwei\n", "über drei\n"]
        with open(point + "/data/lines.txt", "rb") as file:
            assert [line for line in file] == [b"eins\n", b"zwei\n", "über drei\n".encode()]


def test_a_last_line_ends_with_the_file():
    with Mounted(bundle([("app.py", b"no newline"), ("b", b"\nx")])) as point:
        with open(point + "/app.py", "rb") as file:
            assert file.readline() == b"no newline"
            assert file.readline() == b""


def test_an_empty_file():
    with Mounted(bundle(FILES)) as point:
        with open(point + "/data/empty", "rb") as file:
            assert file.read() == b"" and file.readline() == b""
        with open(point + "/data/empty") as file:
            assert file.read() == ""


def test_two_files_at_once():
    with Mounted(bundle(FILES)) as point:
        with open(point + "/app.py", "rb") as one, open(point + "/app.py", "rb") as two:
            assert one.read(4) == b"def "
            assert two.read(3) == b"def"
            assert one.read(4) == b"main"


def test_stat():
    with Mounted(bundle(FILES)) as point:
        assert os.stat(point + "/app.py")[0] == 0x8000
        assert os.stat(point + "/lib/deep/er/x.bin")[6] == 1280
        for folder in ("", "/", "/data", "/lib", "/lib/deep", "/lib/deep/er", "/lib/deep/"):
            assert os.stat(point + folder)[0] == 0x4000, folder
        for missing in ("/none", "/dat", "/data/none", "/app.py/x", "/lib/deep/e", "/../app.py"):
            with raises(OSError) as caught:
                os.stat(point + missing)
            assert caught.value.errno == errno.ENOENT, missing


def test_ilistdir():
    with Mounted(bundle(FILES)) as point:
        found = sorted(entry[:2] for entry in os.ilistdir(point))
        assert found == [
            ("app.py", 0x8000),
            ("data", 0x4000),
            ("ivota.json", 0x8000),
            ("lib", 0x4000),
        ]
        assert sorted(os.listdir(point + "/lib")) == ["deep", "only_here_pkg"]
        assert os.listdir(point + "/lib/deep/er") == ["x.bin"]


def test_working_directory():
    before = os.getcwd()
    with Mounted(bundle(FILES)) as point:
        os.chdir(point + "/data")
        try:
            with open("lines.txt") as file:
                assert file.readline() == "eins\n"
            assert sorted(os.listdir()) == ["empty", "lines.txt"]
        finally:
            os.chdir(before)


def test_nothing_can_be_written():
    with Mounted(bundle(FILES)) as point:
        for mode in ("w", "wb", "a", "ab", "r+", "r+b", "w+"):
            with raises(OSError) as caught:
                open(point + "/app.py", mode)
            assert caught.value.errno != errno.ENOENT, mode
            with raises(OSError):
                open(point + "/new", mode)
        for call in (os.remove, os.rmdir, os.mkdir):
            with raises(OSError):
                call(point + "/data")
        with raises(OSError):
            os.rename(point + "/app.py", point + "/b.py")
        os.statvfs(point)


def test_missing_files():
    with Mounted(bundle(FILES)) as point:
        for name in ("/none", "/data", "/", "/data/none"):
            with raises(OSError) as caught:
                open(point + name, "rb")
            assert caught.value.errno == errno.ENOENT


def test_import_from_it():
    with Mounted(bundle(FILES)) as point:
        sys.path[:0] = [point, point + "/lib"]
        import app
        import only_here_pkg

        assert app.main() == "ran"
        assert only_here_pkg.VALUE == 42
        for name in ("app", "only_here_pkg", "only_here_pkg.inner"):
            del sys.modules[name]


class Counted:
    """A file of the port, counted in `now` while it is open."""

    now = 0

    def __init__(self, path, mode):
        self._file = open(path, mode)
        self._open = True
        Counted.now += 1

    def close(self):
        Counted.now -= self._open
        self._open = False
        self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def __getattr__(self, name):
        return getattr(self._file, name)


def test_files_are_closed():
    """The bundle is opened anew for each of its files; what is imported is closed by the port."""
    bundlefs.open = Counted  # before the builtin one
    try:
        with Mounted(bundle(FILES)) as point:
            with open(point + "/app.py", "rb") as file:
                assert file.read(1) == b"d" and Counted.now == 1
            assert Counted.now == 0
            assert len(os.listdir(point + "/lib")) == 2 and Counted.now == 0
            with raises(OSError):
                open(point + "/none")
            sys.path.insert(0, point)
            import app

            del sys.modules["app"]
            assert app.main() == "ran" and Counted.now == 0
    finally:
        del bundlefs.open


def test_umount_and_mount_again():
    for _ in range(3):
        with Mounted(bundle(FILES)) as point:
            assert os.stat(point + "/app.py")[6] == len(FILES[0][1])


def test_what_follows_the_end_is_not_looked_at():
    for trailer in (b"", b"x" * 5000, file("extra", b""), b"\0" * 9999):
        with Mounted(bundle(FILES) + trailer) as point:
            assert sorted(os.listdir(point)) == ["app.py", "data", "ivota.json", "lib"]


def test_names_in_utf_8():
    names = ("logo (1).png", "M\xfcller.txt", "\u672c/x.py")
    with Mounted(bundle([(name, name.encode()) for name in names])) as point:
        for name in names:
            with open(point + "/" + name, "rb") as opened:
                assert opened.read() == name.encode()
        assert "M\xfcller.txt" in os.listdir(point)


def test_padding_between_records():
    padding = record(1, bytes(5))
    with Mounted(image(padding + file("app.py", b"1") + padding)) as point:
        assert os.listdir(point) == ["app.py"]


def test_a_length_with_a_leading_zero():
    """An image has an even number of bytes, which a byte more in its length sees to."""
    payload = file("app.py", b"1")
    with Mounted(b"\xd2\xcd\x31\x80" + integer(len(payload)) + payload) as point:
        assert os.listdir(point) == ["app.py"]


def test_not_an_image():
    refused(b"")
    refused(b"\0" * 2048)
    refused(b"x" * 2048)
    refused(b"\xe9" + b"\0" * 4095)
    refused(b"PK\x03\x04" + b"x" * 1000)
    refused(image(b""))
    refused(image(record(1, b"")))
    whole = bundle(FILES)
    for size in (1, 3, 4, 5, 20, len(whole) - 1):
        refused(whole[:size])


def test_lengths_that_do_not_fit():
    head = integer(6) + b"app.py"
    for record_ in (
        record(FILE, head + record(2, b"abc", 4)),
        record(FILE, head + record(2, b"abc", 2)),
        record(FILE, head + record(2, b"abc"), 99),
        record(FILE, integer(99) + b"app.py"),
        record(FILE, integer(0) + record(2, b"abc")),
        record(FILE, head),
        record(FILE, b""),
        record(FOLDER, integer(1) + b"a" + file("x", b"1")[:-1]),
        integer(FILE) + b"\xff\xff\xff\xff\x7f" + head,
        integer(FILE) + b"\x80\x80\x80\x80\x80\x05" + head,
        integer(FILE) + b"\x83\xff\xff\xff\x7f" + head,
    ):
        refused(image(record_))


def test_records_that_are_no_plain_files():
    for kind in (0, 2, 3, 6, 127, 0x14A6B1):
        refused(image(file("app.py", b"1") + named(kind, "x", b"")))
    refused(image(named(FILE, "x", record(POINTER, integer(1) + integer(0)))))
    refused(image(named(FILE, "x", record(2, b"1") + record(2, b"2"))))


def test_a_name_twice():
    refused(image(file("x", b"1") + file("x", b"2")), "duplicate path")
    refused(image(file("x", b"1") + named(FOLDER, "x", file("y", b"2"))), "duplicate path")
    refused(image(named(FOLDER, "x", file("y", b"2")) + named(FOLDER, "x", b"")), "duplicate path")


def test_folders_in_folders():
    inner = file("x", b"1")
    for _ in range(8):
        inner = named(FOLDER, "d", inner)
    with Mounted(image(inner)) as point:
        assert os.stat(point + "/d" * 8 + "/x")[6] == 1
    for _ in range(2):
        inner = named(FOLDER, "d", inner)
    refused(image(inner))


def test_names_that_are_none():
    for name in (b"a/b", b"/", b"\0", b"a\nb", b"x" * 256, b""):
        refused(image(file(name, b"1")))


def test_names_that_lead_elsewhere_lead_nowhere():
    """No bundle with such a name passes the examination; mounted, it has no bytes but its own."""
    names = ("ivota.json", "../escape", "a/../../b")
    archive = image(tree([(name, b"its own") for name in names]))
    with tmp_dir() as path:
        write_file(path + "/escape", b"outside")
        os.mkdir(path + "/sub")
        write_file(path + "/sub/b.bin", archive)
        mounted = bundlefs.Bundle(path + "/sub/b.bin")
        for name in names + ("../b.bin", "../../escape", path + "/escape"):
            for start in ("", "/", "/a/"):
                try:
                    opened = mounted.open(start + name, "rb")
                except OSError:
                    continue
                assert opened.read() == b"its own", name
                opened.close()


def test_no_file():
    with raises(OSError):
        bundlefs.Bundle("/none/b.bin")
