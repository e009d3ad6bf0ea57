"""A bundle that this board can't start is refused when its first block has come."""

import sys

from bundles import MAGIC, bundle, file, image, integer, record
from clientworld import World

import bundlefs
from ivota import boot_compatibility
from support import data_of, installed, raises, tmp_dir, write_file

APP = [("app.py", b"def main():\n    pass\n"), ("data.bin", data_of(30000))]


class Board(World):
    """It installs the bundle that is pushed to it."""

    def start(self, **config):
        client = self.client(config=config)
        client.on_firmware = None
        return client

    def fetched(self):
        """Bytes that were taken from the server."""
        return len(self.data) - sum(len(piece) for piece in self.source.pieces)

    def refused(self, why):
        self.push()
        self.spin(60, lambda: self.finals() and not self.made.queue)
        assert self.finals() == [("fail", "-5", "the bundle can't be used: " + why)]
        assert not self.made.restart and not self.made.state.trial
        # The board may get other boot files: it is tried again, after a rest.
        assert self.made.state.rejected == [] and self.made.state.failures[1:] == [1]


def test_a_format_that_its_boot_files_do_not_start():
    with Board(data=bundle(APP, format=3)) as board:
        board.start()
        board.refused("it has format 3, but this board's boot files support 2")
        assert 0 < board.fetched() <= 8192


def test_an_updater_that_is_too_old():
    for least, known in (
        ("0.1.1", "0.1.0"),
        ("0.10", "0.9.9"),
        ("1", "0.2"),
        ("x", "1"),
        (5, "1"),
    ):
        with Board(data=bundle(APP, updater_min=least)) as board:
            board.start()
            other = type("bundlefs", (), {"FORMATS": (2,), "VERSION": known})
            with installed("bundlefs", other):
                board.refused("it needs ivota %s, but this board has %s" % (least, known))
            assert board.fetched() <= 8192


def test_an_updater_that_will_do():
    for least, known in (("0.1.0", "0.1.0"), ("0.9.9", "0.10"), ("0", "0.1"), (None, "0.1")):
        with Board(data=bundle(APP, updater_min=least)) as board:
            client = board.start()
            other = type("bundlefs", (), {"FORMATS": (1, 2), "VERSION": known})
            with installed("bundlefs", other):
                board.push()
                board.spin(60, lambda: board.made.exiting)
            assert client.restart and client.state.trial["version"] == "0.2"


def test_a_board_without_boot_files():
    with Board(data=bundle(APP)) as board:
        board.start()
        with installed("bundlefs", type("bundlefs", (), {})):
            board.refused("this board has no bundlefs.py to start it")


def test_a_download_that_resumes_is_looked_at_as_well():
    """What was begun under other boot files; the first block is on flash already."""
    with Board(data=bundle(APP, format=3)) as board:
        client = board.start()
        client.defer = None
        client.on_firmware = board.got.append  # takes anything
        board.answers = [[board.data[:12000], 100000]]
        board.push()
        board.spin(5)
        client.close()
        board.start()
        board.refused("it has format 3, but this board's boot files support 2")
        assert board.requests[-1][1] == 12000 and board.fetched() <= 12000 + 8192


def test_an_application_takes_any_bundle():
    with Board(data=bundle(APP, format=3)) as board:
        board.client()
        board.push()
        board.spin(60, lambda: board.got)
        assert board.got[0].size == len(board.data)


def test_with_keys_nothing_is_looked_at_before_the_signature():
    with Board(data=bundle(APP, format=3)) as board:
        write_file(board.path + "/owner", b"")
        board.start(keys=[board.path + "/owner"])
        board.push()
        board.spin(60, lambda: board.finals())
        assert board.finals()[0][2].startswith("signature: the file is not signed")
        assert board.fetched() == len(board.data)


def test_what_is_damaged_is_told_when_all_is_there():
    """And what is no bundle: its first block says nothing about it."""
    first = file("ivota.json", b"\xff")
    for data in (
        image(first),
        MAGIC,
        MAGIC + b"\xff" * 20,
        image(file("other", b"x")),
        image(record(4, integer(1) + b"a")),
        image(file("ivota.json", b"[]")),
        image(file("ivota.json", b"{" + b" " * 2000 + b"}")),
        b"IVOTADLT" + bytes(100),
        b"",
    ):
        with tmp_dir() as path:
            write_file(path + "/b", data)
            with open(path + "/b", "r+b") as opened:
                boot_compatibility.check_beginning(opened, len(data))


def test_the_first_file_counts_only_where_all_of_it_has_come():
    data = bundle(APP, format=3)
    with tmp_dir() as path:
        write_file(path + "/b", data)
        with open(path + "/b", "r+b") as opened:
            end = data.index(b"}") + 1
            boot_compatibility.check_beginning(opened, end - 1)
            with raises(Exception, "format 3"):
                boot_compatibility.check_beginning(opened, end)


def test_the_checkout_agrees_with_itself():
    import ivota

    assert bundlefs.VERSION == ivota.__version__
    assert sys.modules["bundlefs"].FORMATS == (2,)
