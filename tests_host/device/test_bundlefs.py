"""A bundle as a file system: mounted for real, read, imported from; and what is refused."""

import errno
import json
import os
import sys

import vfs
from bundles import bundle, header, member

import bundlefs
from ivota import examine
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
        same_members(path + "/b.bin")


def members(member, path):
    """Every (name, size) that `member` finds, and what it raises."""
    found = []
    buffer = bytearray(512)
    at = 0
    try:
        with open(path, "rb") as file:
            while True:
                name, size = member(file, at, buffer)
                found.append((name, size))
                if not name:
                    return found
                at += 512 + (size + 511) // 512 * 512
    except (ValueError, OSError) as error:
        return found + [str(error)]


def same_members(path):
    """What the examination reads is what will be mounted."""
    found = members(bundlefs.member, path)
    assert found == members(examine.member, path)
    return found


def test_the_examination_reads_what_is_mounted():
    with tmp_dir() as path:
        write_file(path + "/b.bin", bundle(FILES))
        assert len(same_members(path + "/b.bin")) == len(FILES) + 2


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


def test_names_with_the_same_key():
    """The index has three bytes of a name's CRC: others have them too, and what is beside them."""
    same = ("f35.py", "f59500.py")
    zero = "z18112260"  # as zero as the place of the first header, which stands before its key
    files = [(name, name.encode()) for name in same + (zero,)]
    with Mounted(bundle(files)) as point:
        for name, data in files:
            assert os.stat(point + "/" + name)[6] == len(data)
            with open(point + "/" + name, "rb") as file:
                assert file.read() == data
    with Mounted(bundle(files[:1])) as point:
        for missing in (same[1], zero):
            with raises(OSError) as caught:
                os.stat(point + "/" + missing)
            assert caught.value.errno == errno.ENOENT
    keys = [bundlefs._key(name.encode()) for name in same + (zero,)]
    assert keys[0] == keys[1] and keys[2] == bytes(3)


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


def test_long_names_use_the_prefix():
    archive = member("ivota.json", b"{}") + member("x.py", b"abc", prefix="a/b") + bytes(1024)
    with Mounted(archive) as point:
        with open(point + "/a/b/x.py") as file:
            assert file.read() == "abc"


def test_what_follows_the_end_is_not_looked_at():
    for trailer in (b"", b"x" * 5000, header("extra", 0), b"\0" * 9999):
        with Mounted(bundle(FILES) + trailer) as point:
            assert sorted(os.listdir(point)) == ["app.py", "data", "ivota.json", "lib"]


def test_an_archive_without_end_blocks():
    with Mounted(bundle(FILES, end=b"")) as point:
        assert len(os.listdir(point + "/data")) == 2


def test_not_an_archive():
    refused(b"")
    refused(b"\0" * 2048)
    refused(b"x" * 2048)
    refused(b"\xe9" + b"\0" * 4095)
    refused(b"PK\x03\x04" + b"x" * 1000)
    refused(bundle(FILES)[:511])


def test_a_damaged_header():
    archive = bundle(FILES)
    for at in (0, 50, 101, 125, 148, 156, 257, 260, 345, 500):
        for bit in (1, 0x40, 0x80):
            damaged = bytearray(archive)
            damaged[at] ^= bit
            refused(bytes(damaged))
    second = 512 + -(-int(archive[124:135], 8) // 512) * 512
    damaged = bytearray(archive)
    damaged[second + 3] ^= 1
    refused(bytes(damaged))


def test_members_that_are_no_plain_files():
    for kind in (b"1", b"2", b"3", b"4", b"5", b"6", b"x", b"g", b"L", b"S"):
        refused(member("ivota.json", b"{}") + header("x", 0, kind) + bytes(1024))
    with Mounted(member("ivota.json", b"{}") + header("x", 0, b"\0") + bytes(1024)) as point:
        assert "x" in os.listdir(point)


def test_sizes_that_are_none():
    for size in (
        b"-0000000512",
        b"-0000001024",
        b"-0000000001",
        b"xxxxxxxxxxx",
        b"99999999999",
        b"",
        b"  ",
    ):
        refused(member("ivota.json", b"{}") + header("x", size) + bytes(1024))


def test_sizes_behind_which_no_place_is_a_small_integer():
    # On 32 bits a seek to there is no OSError.
    for size in (b"10000000000", b"77777777777", b"777777777777", b"-0000000001"):
        refused(header("a", size) + member("b", b"x"))


def test_a_name_twice():
    archive = member("ivota.json", b"{}") + member("x", b"1") * 2 + bytes(1024)
    refused(archive, "twice")


def test_another_magic():
    refused(header("ivota.json", 0, magic=b"\0" * 8) + bytes(1024))


def test_names_that_lead_elsewhere_lead_nowhere():
    """No bundle with such a name passes the examination; mounted, it has no bytes but its own."""
    names = ("ivota.json", "../escape", "/etc/x", "a/../../b")
    archive = b"".join(member(name, b"its own") for name in names) + bytes(1024)
    with tmp_dir() as path:
        write_file(path + "/escape", b"outside")
        os.mkdir(path + "/sub")
        write_file(path + "/sub/b.bin", archive)
        mounted = bundlefs.Bundle(path + "/sub/b.bin")
        for name in names + ("../b.bin", "../../escape", path + "/escape"):
            for start in ("", "/", "/a/"):
                try:
                    file = mounted.open(start + name, "rb")
                except OSError:
                    continue
                assert file.read() == b"its own", name
                file.close()


def test_no_file():
    with raises(OSError):
        bundlefs.Bundle("/none/b.bin")
