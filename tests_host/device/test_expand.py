"""A delta or a compressed firmware on a board: what it becomes, what is refused, what is left."""

import builtins
import hashlib
import io
import os
from binascii import hexlify, unhexlify

import clientworld
import vfs
from bundles import bundle
from clientworld import World
from doubles.fakeesp32 import PLAIN, FakeEsp32, image_of
from patches import compressed, group, header, patch, stored
from signed import KEYS

from ivota import (
    OtaError,
    delta_decoder,
    firmware_folder,
    guarded_socket,
    json_file,
    once,
    patch_preparation,
    patcher,
)
from ivota.patch_header import MOST, parse
from ivota.result_codes import FAILED
from support import patched, raises, read_file, write_file

SKIP_ON = {
    "test_a_delta_fits_beside_its_base_on_a_real_littlefs": ("cpython", "it has no littlefs"),
}
APP = [("app.py", b"def main():\n    pass\n"), ("data.bin", bytes(range(256)) * 60)]
BASE = bundle(APP, version="0.1")
RESULT = bundle(APP + [("more.py", b"x = 1\n" * 200)], version="0.2")
WRONG = "wrong base: the patch is for version 0.1"
DAMAGED = "patch: its stream is damaged"


def md5(data):
    return hexlify(hashlib.md5(data).digest()).decode()


class Board(World):
    """A `World` that runs `base` as version 0.1, to which `data` is pushed as 0.2."""

    def __init__(self, data, base=BASE, esp32=None):
        World.__init__(self, data=data, esp32=esp32)
        self.base = base

    def start(self, **more):
        os.mkdir(self.path + "/fw")
        active = self.path + "/fw/0.1.bin"
        write_file(active, self.base)
        json_file.save(self.path + "/state.json", {"active": active, "sums": {active: "x"}})
        self.esp32 = self.esp32 or True  # so that the firmware is installed
        try:
            return self.client(**more)
        finally:
            self.esp32 = None if self.esp32 is True else self.esp32

    def names(self):
        return sorted(os.listdir(self.path + "/fw"))

    def saved(self):
        return json_file.load(self.path + "/state.json")

    def events(self):
        return [event for _, event, _ in self.log]

    def install(self, **more):
        client = self.start(**more)
        self.push()
        self.spin(60, lambda: client.exiting or self.finals())
        assert not self.finals(), self.finals()
        assert client.restart
        return client

    def refused(self, why, reject=True, **more):
        """Pushed, refused for that reason; nothing of it is left."""
        self.start(**more)
        self.push()
        self.spin(60, lambda: self.finals() and not self.made.queue)
        assert self.finals() == [("fail", "-5", why)], self.finals()
        assert self.names() == ["0.1.bin"], self.names()
        assert read_file(self.path + "/fw/0.1.bin") == self.base
        assert ("rejected" in self.saved()) == reject
        assert "trial" not in self.saved()
        assert "burning" not in [state for state, _ in self.states()]


def run(stream, base=BASE, size=None, left=None):
    """What `pieces` makes of a stream."""
    size = len(base) if size is None else size
    found = delta_decoder.pieces(io.BytesIO(stream), io.BytesIO(base), size, left or 1 << 20)
    words = next(found)
    out = b""
    for n in found:
        whole = b"".join(int(word).to_bytes(2, "little") for word in words)
        out += whole[:n]
        if len(out) == left:
            break
    return out


# Whole updates


def test_a_delta_becomes_the_whole_firmware():
    with Board(patch(BASE, RESULT)) as board:
        board.install()
        assert board.names() == ["0.1.bin", "0.2.bin", "0.2.new"]
        assert read_file(board.path + "/fw/0.2.new") == RESULT
        assert read_file(board.path + "/fw/0.1.bin") == BASE
        saved = board.saved()
        assert saved["active"] == board.path + "/fw/0.2.new"
        assert saved["previous"] == board.path + "/fw/0.1.bin"
        # boot.py compares what it starts with the MD5 of the result, not of the patch.
        assert saved["sums"][saved["active"]] == saved["trial"]["md5sum"] == md5(RESULT)
        assert board.states()[-1] == ("burning", "0") and board.finals() == []
        wanted = ["verified", "expand", "expanded", "handed_over"]
        assert [event for event in board.events() if event in wanted] == wanted
        (fields,) = [fields for _, event, fields in board.log if event == "expand"]
        assert fields == {"base": "0.1", "size": len(RESULT)}


def test_the_patch_stays_until_the_result_is_confirmed():
    with Board(patch(BASE, RESULT)) as board:
        board.install()
        assert read_file(board.path + "/fw/0.2.bin") == board.data
        board.client(version="0.2")
        board.spin(2)
        assert board.finals() == [("done", "0", "")]
        assert board.names() == ["0.1.bin", "0.2.new"]
        # Whatever comes under the name of what runs, it is not written over.
        board.client(version="0.0")
        board.push()
        board.spin(2)
        assert board.finals() == [
            ("fail", "-5", "the active firmware was installed as this version")
        ]
        assert read_file(board.path + "/fw/0.2.new") == RESULT


def test_a_compressed_firmware_needs_no_base():
    for base in (BASE, b"junk"):
        with Board(compressed(RESULT), base) as board:
            board.install()
            assert read_file(board.path + "/fw/0.2.new") == RESULT


def test_what_was_squeezed_by_zlib():
    """A stream with codes and a window of 1 KiB, not a stored one; the result is no bundle."""
    line = b"the same words again and again, and then a number: "
    text = b"".join(line + bytes((n,)) for n in range(48, 58)) * 5
    squeezed = unhexlify(
        "636460d0e0620081928c5485e2c4dc5485f2fca2946285c4f4c4cc3c85c4bc14084b07cc"
        "04aa018a29e495e626a51659291890a1c7900c3d4664e83126438f09197a4cc9d0634686"
        "1e7332f45890a1c772341d8ca683d174309a0e46d3c1683a184d07a3e9003d1d0000"
    )
    assert len(squeezed) < len(text) // 10
    with Board(patch(b"", text, stream=squeezed, version="")) as board:
        board.refused("neither bundle nor image, and on_firmware is not set", reject=False)
        assert "expanded" in board.events()


def test_an_application_with_a_callback_gets_what_was_pushed():
    with Board(patch(BASE, RESULT)) as board:
        board.start(on_firmware=board.got.append)
        board.push()
        board.spin(10, lambda: board.got)
        assert "expand" not in board.events()
        assert read_file(board.got[0].path) == board.data


def test_a_patch_is_not_looked_into_before_its_signature():
    """`tests_host/system/test_delta.py` has the signed ones."""
    with Board(patch(BASE, RESULT)) as board:
        write_file(board.path + "/owner", KEYS["owner"])
        config = {"keys": [board.path + "/owner"]}
        with patched(patcher, step=None):
            board.refused("signature: the file is not signed", config=config)
        assert "expand" not in board.events()


# An image


def test_an_image_is_built_on_the_one_that_runs():
    old = image_of(20000)
    new = bytearray(image_of(23001))
    for at in (300, 301, 5000, 9999, 19999):
        new[at] ^= 0x55
    new = bytes(new)
    for data in (patch(old, new, kind=1), compressed(new, kind=1)):
        esp32 = FakeEsp32(20)
        esp32.slots["ota_0"][: len(old)] = old
        with Board(data, esp32=esp32) as board:
            board.install()
            assert bytes(esp32.slots["ota_1"][: len(new)]) == new
            assert set(esp32.slots["ota_1"][len(new) : 24576]) == {255}
            assert esp32.erases == 6 and esp32.boot == "ota_1"
            assert board.saved()["trial"]["slot"] == "ota_1"
            assert board.names() == ["0.1.bin", "0.2.bin"]  # the patch, until it is confirmed
            esp32.reset()
            board.client(version="0.2")
            board.spin(2)
            assert board.finals() == [("done", "0", "")]
            assert board.names() == ["0.1.bin"]


def test_an_image_that_was_given_up_is_made_again_without_a_download():
    old, new = image_of(20000), image_of(20500, seed=3)
    esp32 = FakeEsp32(20)
    esp32.slots["ota_0"][: len(old)] = old
    with Board(patch(old, new, kind=1), esp32=esp32) as board:
        board.install()
        asked = len(board.requests)
        esp32.reset()
        esp32.reset()  # before it was confirmed
        state = board.saved()
        state["active"], state["previous"], state["trial"] = state["previous"], None, None
        json_file.save(board.path + "/state.json", state)
        client = board.client()
        board.push()
        board.spin(60, lambda: client.exiting)
        assert len(board.requests) == asked and esp32.boot == "ota_1"


def test_the_wrong_image():
    esp32 = FakeEsp32(20)
    new = image_of(20500, seed=3)
    with Board(patch(image_of(20000), new, kind=1), esp32=esp32) as board:
        board.refused(WRONG)
        assert esp32.erases == 0 and esp32.boot == "ota_0"
    with Board(header(b"", new, kind=1, base_size=1 << 20), esp32=esp32) as board:
        board.refused(WRONG)


def test_an_image_that_does_not_fit():
    esp32 = FakeEsp32(4)
    with Board(compressed(image_of(20000), kind=1), esp32=esp32) as board:
        board.refused("not enough space: a slot has 16 KiB", reject=False)


def test_no_slot_for_an_image():
    for esp32 in (None, FakeEsp32(layout=PLAIN)):
        with Board(compressed(image_of(20000), kind=1), esp32=esp32) as board:
            board.refused("this board has no slot for an ESP32 image")


def test_what_should_be_an_image_and_is_none():
    esp32 = FakeEsp32(20)
    with Board(compressed(b"\xe8" + image_of(20000)[1:], kind=1), esp32=esp32) as board:
        board.refused("not an ESP32 image", reject=False)
        assert esp32.boot == "ota_0"


def test_an_image_that_came_out_wrong_can_not_be_started():
    esp32 = FakeEsp32(20)
    data = compressed(image_of(20000), kind=1, result_sha256=bytes(32))
    with Board(data, esp32=esp32) as board:
        board.refused("patch: the result has the wrong SHA-256", reject=False)
        assert bytes(esp32.slots["ota_1"][:4096]) == b"\xff" * 4096


# The base


def test_a_wrong_base_is_refused_before_anything_is_written():
    for base in (RESULT, BASE[:-1], b"", BASE[:700] + b"!" + BASE[701:]):
        with Board(patch(BASE, RESULT), base) as board:
            writes = []
            with patched(firmware_folder, make_room=lambda *_, seen=writes: seen.append(1)):
                board.refused(WRONG)
            assert writes == [1]  # for the patch itself


def test_what_lies_behind_the_base_does_not_matter():
    """Its trailer: the same payload may have been signed anew."""
    with Board(patch(BASE, RESULT), BASE + b"a trailer") as board:
        board.install()
        assert read_file(board.path + "/fw/0.2.new") == RESULT


def test_no_base_at_all():
    with Board(patch(BASE, RESULT)) as board:
        board.start()
        board.made.state.active = None
        board.push()
        board.spin(60, lambda: board.finals())
        assert board.finals() == [("fail", "-5", WRONG)]


# Damage


def test_every_field_of_the_header():
    good = header(BASE, RESULT)
    found = parse(good + b"stream")
    assert (found.kind, found.window, found.size) == (0, 10, len(good))
    assert (found.base_version, found.base_size) == ("0.1", len(BASE))
    assert found.result_size == len(RESULT)
    assert found.result_sha256 == hashlib.sha256(RESULT).digest()
    assert parse(header(b"", RESULT, version="\xe4" * 127)).base_version == "\xe4" * 127
    assert MOST >= len(header(b"", RESULT, version="v" * 255))
    for data, why in (
        (b"", "its header is truncated"),
        (good[:83], "its header is truncated"),
        (good[:86], "its header is truncated"),
        (header(BASE, RESULT, magic=b"IVOTADLX"), "it has an unknown format"),
        (header(BASE, RESULT, format=2), "it has an unknown format"),
        (header(BASE, RESULT, kind=2), "its header is invalid"),
        (header(BASE, RESULT, window=8), "its header is invalid"),
        (header(BASE, RESULT, window=15), "its header is invalid"),
        (header(BASE, RESULT, result_size=0), "its header is invalid"),
        (header(BASE, RESULT, length=200), "its header is truncated"),
        (header(BASE, RESULT, version="\xe4")[:-1] + b"\xe4", "its header is invalid"),
    ):
        with raises(OtaError, why) as caught:
            parse(data)
        assert caught.value.code == FAILED and caught.value.reject


def test_a_header_that_does_not_say_the_truth():
    for changed, why, reject in (
        ({"base_md5": bytes(16)}, WRONG, True),
        ({"base_size": len(BASE) - 1}, WRONG, True),
        ({"base_size": 0xFFFFFFFF}, WRONG, True),
        ({"result_size": len(RESULT) - 1}, DAMAGED, True),
        ({"result_size": len(RESULT) + 1}, DAMAGED, True),
        ({"result_sha256": bytes(32)}, "patch: the result has the wrong SHA-256", False),
    ):
        with Board(patch(BASE, RESULT, **changed)) as board:
            board.refused(why, reject)


def test_records():
    base = bytes(range(256)) * 8
    assert run(group((0, 256, [], b"abc")), base, left=259) == base[:256] + b"abc"
    assert run(group((700, 2, [], b""), (-702, 3, [], b"")), base, left=5) == (
        base[700:702] + base[:3]
    )
    # Words of 16 bits, of which what does not fit is dropped; a last byte is half of one.
    assert run(group((254, 2, [(0, 1)], b"")), base, left=2) == b"\xff\xff"
    assert run(group((255, 2, [(0, 0xFFFF)], b"")), base, left=2) == b"\xfe\0"
    assert run(group((1, 3, [(1, 0x1001)], b"")), base, left=3) == b"\1\2\4"
    many = [(1 if n else 0, n) for n in range(255)]
    found = run(group((0, 1024, many, b"")), base, left=1024)
    for n in range(255):
        was = int.from_bytes(base[2 * n : 2 * n + 2], "little")
        assert found[2 * n : 2 * n + 2] == (was + n & 0xFFFF).to_bytes(2, "little")
    assert found[510:] == base[510:1024]
    # A long copy comes in pieces, changed in the first.
    long = run(group((0, 2000, [(3, 7)], b"x" * 1500)), base, left=3500)
    assert long == base[:6] + b"\x0d" + base[7:2000] + b"x" * 1500
    # More records than a group holds.
    several = group(*[(0, 1, [], b"")] * 32) + group((5, 1, [], b""))
    assert run(several, base, left=33) == base[:32] + base[37:38]


def test_records_that_lead_elsewhere():
    base = bytes(1000)
    for stream in (
        b"",
        b"\0",
        b"\x21" + bytes(400),
        b"\1\0\0",
        group((0, 0, [], b"")),
        group((-1, 5, [], b"")),
        group((0, 1001, [], b"")),
        group((996, 5, [], b"")),
        group((0, 900, [], b""), (0, 101, [], b"")),
        group((-0x80000000, 5, [], b"")),
        group((0x7FFFFFFF, 5, [], b"")),
        group((0, 20, [(255, 1)] * 3, b"")),
        group((0, 20, [(1, 1)], b"abc"))[:-1],
        group((0, 20, [(1, 1)], b""))[:-1],
    ):
        with raises(OtaError, "its stream is damaged") as caught:
            run(stream, base, left=1 << 19)
        assert caught.value.reject
    with raises(OtaError, "its stream is damaged"):
        run(group((0, 10, [], b"")), base, left=9)


def test_a_base_that_became_shorter_is_no_verdict():
    """It was compared, so it is the flash that fails."""
    with raises(OSError, "the base is too short"):
        run(group((0, 10, [], b"")), base=bytes(5), size=10, left=10)


def test_a_place_in_no_base():
    """A compressed firmware has none to go to another place in."""
    for move in (1, -1, 0x7FFFFFFF):
        for record in ((move, 0, [], b"abc"), (move, 1, [], b"")):
            with raises(OtaError, "its stream is damaged") as caught:
                for _ in delta_decoder.pieces(io.BytesIO(group(record)), None, 0, 3):
                    pass
            assert caught.value.reject


def test_a_stream_that_is_none():
    good = patch(BASE, RESULT)
    size = len(header(BASE, RESULT))
    for stream in (b"", b"\xff" * 40, good[size:-500], b"\x07" + good[size + 1 :], stored(b"")):
        with Board(good[:size] + stream) as board:
            board.refused(DAMAGED)


def test_a_flash_that_fails_is_no_verdict():
    class Failing:
        def readinto(self, *_):
            raise OSError(5)

        def close(self):
            pass

    for module, name in ((patcher, "DeflateIO"), (patch_preparation, "open_base")):
        with Board(patch(BASE, RESULT)) as board:
            with patched(module, **{name: lambda *_: Failing()}):
                board.start()
                board.push()
                board.spin(60, lambda: board.finals())
            assert board.finals() == [("fail", "-5", "OSError [Errno 5] EIO")]
            assert "rejected" not in board.saved() and board.names() == ["0.1.bin"]


def test_no_memory_is_no_verdict():
    def fails(*_):
        raise MemoryError("no room")

    with Board(patch(BASE, RESULT)) as board:
        with patched(patcher, DeflateIO=fails):
            board.start()
            board.push()
            board.spin(60, lambda: board.finals())
        assert board.finals() == [("fail", "-5", "MemoryError no room")]
        assert board.names() == ["0.1.bin"] and "rejected" not in board.saved()


# What else happens meanwhile


def test_a_result_that_was_refused_once_is_not_made_again():
    with Board(patch(BASE, RESULT)) as board:
        board.start()
        board.made.state.rejected = [[md5(RESULT), "crashed in its trial"]]
        board.push()
        board.spin(60, lambda: board.finals())
        assert board.finals() == [("fail", "-5", "crashed in its trial")]
        assert "expand" not in board.events()
        asked = len(board.requests)
        board.push()
        board.spin(1)
        assert len(board.requests) == asked  # by now the patch is refused, too


def test_another_push_in_the_midst_of_it():
    with Board(patch(BASE, RESULT)) as board:
        client = board.start()
        board.push()
        board.spin(60, lambda: board.names() == ["0.1.bin", "0.2.bin", "0.2.new"])
        board.push(url="http://h/renewed")  # the same: goes on
        client.step()
        assert client.job.phase == "patcher" and client.next is None
        board.data = compressed(RESULT)
        board.push()
        client.step()
        client.step()
        assert "0.2.new" not in board.names()
        board.spin(60, lambda: client.exiting)
        assert read_file(board.path + "/fw/0.2.new") == RESULT


def test_a_cut_in_the_midst_of_it_begins_it_again():
    with Board(patch(BASE, RESULT)) as board:
        board.start()
        board.push()
        board.spin(60, lambda: "0.2.new" in board.names())
        board.made.step()
        asked = len(board.requests)
        left = board.made.job  # as a reset leaves it: nothing is closed, nothing removed
        client = board.client(on_firmware=None)
        client.on_firmware = None
        board.push()
        board.spin(60, lambda: client.exiting)
        assert len(board.requests) == asked
        assert read_file(board.path + "/fw/0.2.new") == RESULT
        assert board.names() == ["0.1.bin", "0.2.bin", "0.2.new"]
        left.stream = None


def test_the_steps_are_bounded():
    """And in each the watchdog is fed, and the link has its turn."""
    big = bundle([("app.py", b"def main():\n    pass\n"), ("b", bytes(300000))], version="0.2")
    fed = []
    feeding = patched(guarded_socket.hooks, feed=lambda: fed.append(1))
    with Board(compressed(big)) as board, feeding:
        client = board.start()
        board.push()
        board.spin(60, lambda: client.job and client.job.phase == "patcher")
        fed.clear()
        heard = client.link.step
        turns = []
        client.link.step = lambda: turns.append(1) or heard()
        steps = 0
        while client.job and client.job.phase == "patcher":
            client.step()
            steps += 1
        assert steps >= len(big) // 4096
        assert len(fed) == len(turns) == steps


class Handles:
    """`open` and `os` of littlefs 2.11.3, for the file at `path`.

    A handle that is closed makes the file's other handles dirty, and `statvfs` counts the blocks
    of each of those once more.
    """

    BLOCK = 4096

    def __init__(self, path, free):
        self._path = path
        self._free = free  # blocks
        self._open = builtins.open
        self.handles = []
        self.asked = 0

    def __enter__(self):
        builtins.open = self.open
        return self

    def __exit__(self, *_error):
        builtins.open = self._open

    def open(self, path, *mode):
        file = self._open(path, *mode)
        return Handle(self, file) if path == self._path else file

    def closed(self, handle):
        if handle in self.handles:
            self.handles.remove(handle)
        for other in self.handles:
            other.dirty = True

    def statvfs(self, _path):
        self.asked += 1
        dirty = sum(handle.dirty for handle in self.handles)
        free = max(0, self._free - dirty * (os.stat(self._path)[6] // self.BLOCK + 1))
        return (self.BLOCK, self.BLOCK, 999, free, free, 0, 0, 0, 0, 255)

    def __getattr__(self, name):
        return getattr(os, name)


class Handle:
    def __init__(self, owner, file):
        self._owner = owner
        self._file = file
        self.dirty = False
        owner.handles.append(self)

    def close(self):
        self._file.close()
        self._owner.closed(self)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.close()

    def __getattr__(self, name):
        return getattr(self._file, name)


def importing(path):
    """`once` of a board that runs the bundle at `path`: each module is read from that file."""

    def once_(name):
        with open(path, "rb") as file:
            file.read(1)
        return once(name)

    return once_


def test_room_is_asked_for_while_the_base_is_closed():
    """From littlefs 2.11.3 on a second handle makes the base count twice."""
    with Board(patch(BASE, RESULT)) as board:
        board.start()
        board.push()
        active = board.path + "/fw/0.1.bin"
        free = len(RESULT) // 4096 + 4
        with Handles(active, free) as handles, patched(firmware_folder, os=handles):
            with patched(patcher, once=importing(active)):
                with patched(patch_preparation, once=importing(active)):
                    board.spin(60, lambda: board.made.exiting or board.finals())
        assert board.finals() == [] and read_file(board.path + "/fw/0.2.new") == RESULT
        assert handles.asked >= 2 and handles.handles == []


class Littlefs:
    """A temporary folder on a littlefs in memory, of so many blocks."""

    def __init__(self, blocks):
        self._count = blocks
        self._blocks = bytearray(4096 * blocks)

    def readblocks(self, n, buf, offset=0):
        at = n * 4096 + offset
        buf[:] = self._blocks[at : at + len(buf)]

    def writeblocks(self, n, buf, offset=0):
        at = n * 4096 + offset
        self._blocks[at : at + len(buf)] = buf

    def ioctl(self, op, arg):
        return {4: self._count, 5: 4096}.get(op, 0)

    def __enter__(self):
        vfs.VfsLfs2.mkfs(self)
        vfs.mount(self, "/lfs")
        return "/lfs"

    def __exit__(self, *_error):
        vfs.umount("/lfs")


def test_a_delta_fits_beside_its_base_on_a_real_littlefs():
    base = bundle(APP + [("large.bin", bytes(range(256)) * 400)], version="0.1")
    result = bundle(APP + [("large.bin", bytes(range(256)) * 401)], version="0.2")
    delta = patch(base, result)
    # Both, the patch, small files and their folders: too few for the base twice.
    blocks = (len(base) + len(result) + len(delta)) // 4096 + 20
    with patched(clientworld, tmp_dir=lambda: Littlefs(blocks)):
        with Board(delta, base) as board:
            board.start()
            board.push()
            active = board.path + "/fw/0.1.bin"
            once = importing(active)
            # As an application may have a file of its bundle open.
            held = open(active, "rb")
            open(active, "rb").close()
            with patched(patcher, once=once), patched(patch_preparation, once=once):
                board.spin(60, lambda: board.made.exiting or board.finals())
            held.close()
            assert board.finals() == [], board.finals()
            assert read_file(board.path + "/fw/0.2.new") == result


def test_the_previous_bundle_goes_only_for_want_of_room():
    with Board(patch(BASE, RESULT)) as board:
        board.start()
        previous = board.path + "/fw/0.0.bin"
        write_file(previous, b"x" * 50)
        board.made.state.previous = previous
        board.push()
        board.spin(60, lambda: board.made.exiting)
        assert board.names() == ["0.0.bin", "0.1.bin", "0.2.bin", "0.2.new"]
    real = firmware_folder.make_room

    def lacking(path, size, *args):
        with patched(firmware_folder, _lacks=lambda *_: 0 if size < len(RESULT) else 7):
            real(path, size, *args)

    with Board(patch(BASE, RESULT)) as board:
        with patched(firmware_folder, make_room=lacking):
            board.refused("not enough space: 7 KiB more needed", reject=False)


def test_a_patch_in_the_place_of_the_previous_bundle_is_not_removed_for_room():
    real = firmware_folder.make_room
    lacks = []

    def lacking(path, *args):
        if path[-4:] == ".new":
            lacks.extend((0, 7))  # the last one first
        with patched(firmware_folder, _lacks=lambda *_: lacks.pop() if lacks else 0):
            real(path, *args)

    with Board(patch(BASE, RESULT)) as board:
        board.start()
        board.made.state.previous = board.path + "/fw/0.2.bin"
        with patched(firmware_folder, make_room=lacking):
            board.push()
            board.spin(60, lambda: board.made.exiting)
        assert lacks == [] and board.names() == ["0.1.bin", "0.2.bin", "0.2.new"]
        assert read_file(board.path + "/fw/0.2.bin") == board.data


def test_a_module_is_loaded_for_it_and_dropped():
    import sys

    before = [name for name in sys.modules if name.startswith("ivota.")]
    assert once("patch_header").MOST == 339
    assert [name for name in sys.modules if name.startswith("ivota.")] == before
