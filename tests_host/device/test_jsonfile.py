"""A small JSON file replaced atomically: what is read after a cut at any step."""

import io
import json
import os

from ivota import json_file
from support import patched, raises, read_file, tmp_dir, write_file

OLD = {"active": "/firmware/0.1.bin", "n": [1, 2, 3]}
NEW = {"active": "/firmware/0.2.bin", "n": [4, 5, 6], "more": "é" * 20}


class Cut(Exception):
    """The power went."""


class Power:
    """Lets `steps` operations pass, then cuts."""

    def __init__(self, steps):
        self.left = steps

    def use(self):
        if self.left == 0:
            raise Cut
        self.left -= 1


class CutFile(io.IOBase):
    """A file of which the bytes written one by one reach the flash until the power is cut."""

    def __init__(self, power, path, mode):
        power.use()
        self._power = power
        self._file = open(path, mode)

    def write(self, data):
        for i in range(len(data)):
            self._power.use()
            self._file.write(data[i : i + 1])
        return len(data)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._file.close()
        if exc[0] is None:
            self._power.use()


class CutOs:
    """`os` whose rename removes its target first, as FAT's does, when `fat` is true."""

    def __init__(self, power, fat):
        self._power = power
        self._fat = fat

    def rename(self, old, new):
        self._power.use()
        if self._fat:
            try:
                os.remove(new)
            except OSError:
                pass
            self._power.use()
        os.rename(old, new)
        self._power.use()

    def remove(self, path):
        self._power.use()
        os.remove(path)


def save_with_cut(path, value, steps, fat):
    """Whether the save came to its end before the power was cut."""
    power = Power(steps)
    json_file.open = lambda name, mode: CutFile(power, name, mode)
    try:
        with patched(json_file, os=CutOs(power, fat)):
            json_file.save(path, value)
        return True
    except Cut:
        return False
    finally:
        del json_file.open


def test_what_was_saved_is_read():
    with tmp_dir() as path:
        json_file.save(path + "/s", NEW)
        assert json_file.load(path + "/s") == NEW
        assert os.listdir(path) == ["s"]


def test_nothing_there():
    with tmp_dir() as path:
        assert json_file.load(path + "/s") is None
        json_file.remove(path + "/s")


def test_a_cut_at_every_step_leaves_the_old_or_the_new():
    for fat in (False, True):
        with tmp_dir() as path:
            name = path + "/s"
            json_file.save(name, OLD)
            steps = 0
            seen = []
            while not save_with_cut(name, NEW, steps, fat):
                found = json_file.load(name)
                assert found in (OLD, NEW), steps
                seen.append(found == NEW)
                json_file.save(name, OLD)
                steps += 1
            # One step for each byte, and opening, closing, renaming.
            assert steps >= len(json.dumps(NEW)) + len(', "crc": "12345678"') + 4
            assert seen == sorted(seen) and not seen[0] and seen[-1]
            assert json_file.load(name) == NEW


def test_a_first_save_that_was_cut_is_as_if_never_begun():
    with tmp_dir() as path:
        name = path + "/s"
        steps = 0
        while not save_with_cut(name, {"a": 1}, steps, False):
            assert json_file.load(name) in (None, {"a": 1})
            json_file.remove(name)
            assert os.listdir(path) == []
            steps += 1
        assert json_file.load(name) == {"a": 1}


def test_only_the_temporary_exists():
    with tmp_dir() as path:
        write_file(path + "/s~", json.dumps(NEW).encode())
        assert json_file.load(path + "/s") == NEW
        json_file.save(path + "/s", OLD)
        assert os.listdir(path) == ["s"]


def test_a_leftover_temporary_does_not_count():
    with tmp_dir() as path:
        json_file.save(path + "/s", OLD)
        for junk in (b"", b'{"a": 1}', b'{"a'):
            write_file(path + "/s~", junk)
            assert json_file.load(path + "/s") == OLD
        json_file.save(path + "/s", NEW)
        assert json_file.load(path + "/s") == NEW


def test_an_unreadable_file_falls_back_to_the_temporary():
    with tmp_dir() as path:
        write_file(path + "/s~", json.dumps(NEW).encode())
        for junk in (b"", b"{", b"\xff\xff\xff", b"[]", b"null", b'"x"', b"1"):
            write_file(path + "/s", junk)
            assert json_file.load(path + "/s") == NEW, junk


def test_junk_alone_is_nothing():
    with tmp_dir() as path:
        for junk in (b"", b"{", b"\x00" * 100, b"\xff" * 100, b"[1]", b"null", b'{"a": "\xff"}'):
            write_file(path + "/s", junk)
            assert json_file.load(path + "/s") is None, junk


def test_a_flipped_bit_is_noticed():
    for value in (NEW, {}, {"a": {"crc": "5"}}):
        with tmp_dir() as path:
            name = path + "/s"
            json_file.save(name, value)
            assert json_file.load(name, True) == value
            whole = read_file(name)
            assert json.loads(whole)["crc"]
            for i in range(len(whole) * 8):
                damaged = bytearray(whole)
                damaged[i // 8] ^= 1 << i % 8
                write_file(name, damaged)
                assert json_file.load(name, True) is None, bytes(damaged)


def test_a_truncated_one_is_noticed():
    with tmp_dir() as path:
        name = path + "/s"
        json_file.save(name, NEW)
        whole = read_file(name)
        for i in range(len(whole)):
            write_file(name, whole[:i])
            assert json_file.load(name) is None, i


def test_without_a_crc_it_is_not_ours():
    with tmp_dir() as path:
        for text in (b"{}", b'{"a": 1}\n', b'{"crc": 5, "a": 1}'):
            write_file(path + "/s", text)
            assert json_file.load(path + "/s", True) is None
            found = json.loads(text)
            found.pop("crc", None)
            assert json_file.load(path + "/s") == found


def test_a_huge_one_is_not_read():
    with tmp_dir() as path:
        for value in ({"a": "x" * 20000}, {"a": [0] * 20000}):
            json_file.save(path + "/s", value)
            assert json_file.load(path + "/s") is None


class Lenient:
    """`json` as up to MicroPython 1.25: an object without its end is one."""

    def loads(self, _text):
        return {"a": 1}


def test_a_truncated_one_without_a_crc_is_noticed():
    with tmp_dir() as path, patched(json_file, json=Lenient()):
        for text, found in ((b'{"a": 1} \n', {"a": 1}), (b'{"a": 1', None), (b"{", None)):
            write_file(path + "/s", text)
            assert json_file.load(path + "/s") == found, text


class Full:
    """`json` of a heap that is full."""

    def loads(self, _text):
        raise MemoryError


def test_one_that_does_not_fit_the_heap_is_not_missing():
    """Whoever wrote it anew would lose what it has."""
    with tmp_dir() as path:
        json_file.save(path + "/s", NEW)
        write_file(path + "/s~", json.dumps(OLD).encode())
        with patched(json_file, json=Full()), raises(MemoryError):
            json_file.load(path + "/s")
        assert json_file.load(path + "/s") == NEW


def test_remove_takes_both():
    with tmp_dir() as path:
        json_file.save(path + "/s", OLD)
        write_file(path + "/s~", b"{}")
        json_file.remove(path + "/s")
        assert os.listdir(path) == []


def test_a_cut_remove_does_not_bring_an_older_one_back():
    with tmp_dir() as path:
        for steps in range(3):
            json_file.save(path + "/s", NEW)
            write_file(path + "/s~", json.dumps(OLD).encode())
            try:
                with patched(json_file, os=CutOs(Power(steps), False)):
                    json_file.remove(path + "/s")
            except Cut:
                pass
            assert json_file.load(path + "/s") in (NEW, None)


def test_saving_into_no_folder_is_an_os_error():
    with tmp_dir() as path:
        with raises(OSError):
            json_file.save(path + "/none/s", OLD)
