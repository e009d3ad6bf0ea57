"""Files, folders and streams in memory: the same on the shim and on the real interpreter."""

import errno
import io
import os

from support import raises, read_file, tmp_dir, write_file


def test_write_takes_a_count_and_an_offset():
    with tmp_dir() as path:
        file = open(path + "/f", "wb")
        assert file.write(b"hello world", 5) == 5
        assert file.write(b"hello world", 5, 4) == 4
        assert file.write(memoryview(b"abc")[1:]) == 2
        assert file.write(b"abc", 9) == 3
        assert file.write("é") == 2
        assert file.tell() == 16
        assert file.flush() is None
        assert file.close() is None
        assert file.close() is None
        assert read_file(path + "/f") == b"hello worbcabc\xc3\xa9"


def test_readinto_takes_a_count():
    with tmp_dir() as path:
        write_file(path + "/f", b"0123456789")
        buffer = bytearray(6)
        with open(path + "/f", "rb") as file:
            assert file.readinto(buffer, 2) == 2
            assert buffer == b"01\0\0\0\0"
            assert file.readinto(buffer, 0) == 0
            assert file.readinto(buffer) == 6
            assert buffer == b"234567"
            assert file.readinto(buffer, 99) == 2
            assert buffer == b"894567"
            assert file.readinto(buffer) == 0
            assert file.seek(0) == 0
            assert file.readinto(memoryview(buffer)[2:4]) == 2
            assert buffer == b"890167"
            with raises(TypeError):
                file.readinto(b"constant")


def test_read_and_seek():
    with tmp_dir() as path:
        write_file(path + "/f", b"0123456789")
        with open(path + "/f", "rb") as file:
            assert file.read(3) == b"012"
            assert file.read() == b"3456789"
            assert file.read() == b""
            assert file.read(4) == b""
            assert file.seek(-2, 2) == 8
            assert file.read(-1) == b"89"
            assert file.seek(1, 0) == 1
            assert file.seek(2, 1) == 3
            assert file.tell() == 3
            assert file.seek(100) == 100
            assert file.read(1) == b""
            with raises(OSError) as caught:
                file.seek(-999, 1)
            assert caught.value.errno == errno.EINVAL


def test_a_file_has_no_truncate_and_no_name():
    with tmp_dir() as path:
        with open(path + "/f", "wb") as file:
            for name in "truncate name mode closed readable writable seekable isatty".split():
                assert not hasattr(file, name), name


def test_appending():
    with tmp_dir() as path:
        write_file(path + "/f", b"12345")
        with open(path + "/f", "ab") as file:
            assert file.tell() == 0
            assert file.write(b"x") == 1
            assert file.tell() == 6
            assert file.seek(0) == 0
            assert file.write(b"y") == 1
        with open(path + "/f", "ab+") as file:
            assert file.read() == b"12345xy"


def test_modes():
    with tmp_dir() as path:
        write_file(path + "/f", b"12345")
        with open(path + "/f", "r+b") as file:
            file.seek(1)
            file.write(b"xx")
        assert read_file(path + "/f") == b"1xx45"
        with open(path + "/f", "wb") as file:
            with raises(OSError) as caught:
                file.read(1)
            assert caught.value.errno == errno.EBADF
        assert read_file(path + "/f") == b""
        with open(path + "/f", "rb") as file:
            with raises(OSError) as caught:
                file.write(b"1")
            assert caught.value.errno == errno.EBADF
        with raises(OSError) as caught:
            open(path + "/nothing", "rb")
        assert caught.value.args == (errno.ENOENT,)
        with raises(OSError) as caught:
            open(path, "wb")
        assert caught.value.errno == errno.EISDIR


def test_a_closed_file_raises_valueerror():
    with tmp_dir() as path:
        file = open(path + "/f", "wb")
        file.close()
        for call in (
            lambda: file.write(b"x"),
            lambda: file.read(),
            lambda: file.flush(),
            lambda: file.tell(),
            lambda: file.seek(0),
        ):
            with raises(ValueError):
                call()


def test_text_files():
    with tmp_dir() as path:
        with open(path + "/t", "w") as file:
            assert file.write("héllo\nwörld\r\n\n") == 16
            assert file.write(b"bytes") == 5
        with open(path + "/t") as file:
            assert file.read(2) == "hé"
            assert file.readline() == "llo\n"
            assert [line for line in file] == ["wörld\r\n", "\n", "bytes"]
            assert file.readline() == ""
        with open(path + "/t", "r") as file:
            assert file.read() == "héllo\nwörld\r\n\nbytes"
        with open(path + "/t", "rb") as file:
            assert file.readline() == b"h\xc3\xa9llo\n"
            assert file.readline(3) == b"w\xc3\xb6"
            assert file.readlines() == [b"rld\r\n", b"\n", b"bytes"]


def test_listing():
    with tmp_dir() as path:
        os.mkdir(path + "/folder")
        write_file(path + "/file", b"1")
        assert sorted(os.listdir(path)) == ["file", "folder"]
        entries = sorted(os.ilistdir(path))
        assert [entry[:2] for entry in entries] == [("file", 0x8000), ("folder", 0x4000)]
        for call in (os.listdir, lambda p: list(os.ilistdir(p)), os.stat, os.chdir, os.rmdir):
            with raises(OSError) as caught:
                call(path + "/nothing")
            assert caught.value.errno == errno.ENOENT
        before = os.getcwd()
        os.chdir(path)
        try:
            assert sorted(os.listdir()) == ["file", "folder"]
            assert os.stat("file")[6] == 1
            assert read_file("file") == b"1"
            os.chdir("folder")
            assert os.getcwd().endswith("/folder")
            assert os.listdir() == []
            os.chdir("..")
            os.rmdir("folder")
        finally:
            os.chdir(before)
        assert os.getcwd() == before


def test_stat():
    with tmp_dir() as path:
        write_file(path + "/f", b"12345")
        assert len(os.stat(path + "/f")) == 10
        assert os.stat(path + "/f")[6] == 5
        assert os.stat(path + "/f")[0] & 0xC000 == 0x8000
        assert os.stat(path)[0] & 0xC000 == 0x4000
        assert type(os.stat(path + "/f")[8]) is int
        assert len(os.statvfs(path)) == 10
        assert os.statvfs(path)[0] >= 512
        with raises(OSError):
            os.stat(path + "/f/g")
        with raises(OSError) as caught:
            os.stat("")
        assert caught.value.errno == errno.ENOENT


def test_rename_replaces():
    with tmp_dir() as path:
        write_file(path + "/a", b"a")
        write_file(path + "/b", b"bb")
        assert os.rename(path + "/a", path + "/b") is None
        assert os.listdir(path) == ["b"]
        assert read_file(path + "/b") == b"a"
        with raises(OSError) as caught:
            os.rename(path + "/a", path + "/c")
        assert caught.value.errno == errno.ENOENT


def test_folders():
    with tmp_dir() as path:
        os.mkdir(path + "/d")
        with raises(OSError) as caught:
            os.mkdir(path + "/d")
        assert caught.value.errno == errno.EEXIST
        with raises(OSError) as caught:
            os.mkdir(path + "/x/y")
        assert caught.value.errno == errno.ENOENT
        with raises(OSError) as caught:
            os.remove(path + "/d")
        assert caught.value.errno == errno.EISDIR
        write_file(path + "/d/f", b"")
        with raises(OSError) as caught:
            os.rmdir(path + "/d")
        assert caught.value.errno == 39  # ENOTEMPTY, which errno does not name
        os.unlink(path + "/d/f")
        os.rmdir(path + "/d")
        with raises(OSError) as caught:
            os.remove(path + "/d")
        assert caught.value.errno == errno.ENOENT
        with raises(TypeError):
            os.remove(5)


def test_what_os_lacks():
    for name in "path walk makedirs fsync environ replace sync truncate open getpid".split():
        assert not hasattr(os, name), name


def test_environment():
    os.putenv("IVOTA_TEST", "1")
    assert os.getenv("IVOTA_TEST") == "1"
    os.unsetenv("IVOTA_TEST")
    assert os.getenv("IVOTA_TEST") is None
    assert os.getenv("IVOTA_TEST", "other") == "other"
    assert len(os.urandom(5)) == 5


def test_streams_in_memory():
    buffer = bytearray(4)
    stream = io.BytesIO(b"abcdef")
    assert stream.readinto(buffer, 2) == 2
    assert buffer == b"ab\0\0"
    assert stream.read(1) == b"c"
    assert stream.write(b"XYZ", 1) == 1
    assert stream.getvalue() == b"abcXef"
    assert stream.seek(0, 2) == 6
    assert stream.write("u") == 1
    assert stream.tell() == 7
    stream.close()
    with raises(ValueError):
        stream.read()
    text = io.StringIO("ab\ncd")
    assert text.readline() == "ab\n"
    assert list(text) == ["cd"]
    assert text.read() == ""
    text = io.StringIO()
    assert text.write("aé") == 3
    assert text.getvalue() == "aé"
    assert not hasattr(io, "BufferedReader")


def test_streams_written_in_python():
    class Stream(io.IOBase):
        def __init__(self):
            self.out = b""

        def write(self, data):
            self.out += bytes(data)
            return len(data)

    stream = Stream()
    assert not hasattr(stream, "read")
    print("text", 5, file=stream)
    assert stream.out == b"text 5\n"
