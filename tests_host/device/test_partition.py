"""What an OTA slot has of its own: erased blocks, a position in the checkpoint, no allocation."""

import io

import micropython
from doubles.fakeesp32 import ONE_SLOT, OTA, PLAIN, FakeEsp32, image_of
from targets import Raw, Slots, digest, fill, push_of, saves

from ivota import OtaError, firmware_folder, json_file, once
from ivota.result_codes import FAILED, MISMATCH
from support import data_of, installed, patched, raises, write_file

SKIP_ON = {
    "test_a_block_allocates_nothing": ("cpython", "its heap can't be locked"),
}


def position(store):
    return json_file.load(store.path + "/0.2.json")["position"]


def opened(store, data):
    target = store.target()
    target.open(push_of(data))
    return target


def test_each_block_is_erased_once_and_programmed_in_chunks():
    data = data_of(20000)
    with Slots() as store:
        store.esp32.slots["ota_1"][:] = bytes(65536)  # an older image
        target = opened(store, data)
        assert store.esp32.erases == 0
        fill(target, data, 1)
        assert (store.esp32.erases, store.esp32.programs) == (0, 0)
        fill(target, data)
        assert (store.esp32.erases, store.esp32.programs) == (5, 40)
        digest(target)
        target.finish()
        # What is behind the image was not touched, save the rest of its last block.
        assert store.content(20480)[20000:] == b"\xff" * 480
        assert store.content(20481)[20480:] == b"\0"


def test_pieces_of_any_size_come_to_the_same():
    data = data_of(9001)
    for chunk in (1, 7, 200, 511, 512):
        with Slots() as store:
            target = opened(store, data)
            ends = fill(target, data, chunk=chunk)
            assert ends == [4096, 8192, 9001]
            assert store.content(9001) == data
            assert store.esp32.programs == 18


def test_the_position_is_written_every_16_blocks_and_at_the_end():
    data = data_of(150000)
    with Slots(blocks=40) as store:
        target = opened(store, data)
        assert saves(fill, target, data, 65535) == 0
        assert position(store) == 0
        assert saves(fill, target, data, 65536) == 1
        assert position(store) == 65536
        assert saves(fill, target, data, 131071) == 0
        assert saves(fill, target, data, 149999) == 1
        assert saves(fill, target, data) == 1
        assert position(store) == 150000
        digest(target)
        assert saves(target.finish) == 0
        assert position(store) == 150000


def test_after_a_power_cut_it_goes_on_where_the_checkpoint_says():
    data = data_of(150000)
    for stop in (60000, 65536, 65537, 70000, 140000):
        with Slots(blocks=40) as store:
            fill(opened(store, data), data, stop)
            # Nothing else is left of that.
            target = store.target()
            assert target.open(push_of(data)) == stop - stop % 65536
            fill(target, data, chunk=300)
            digest(target)
            target.finish()
            assert store.content(150000) == data


def test_an_orderly_stop_keeps_whole_blocks():
    data = data_of(20000)
    with Slots() as store:
        target = opened(store, data)
        fill(target, data, 13000, 300)
        target.stop()
        assert position(store) == 13000
        target = store.target()
        assert target.open(push_of(data)) == 12288
        erases = store.esp32.erases
        fill(target, data)
        assert store.esp32.erases == erases + 2
        assert store.content(20000) == data


def test_what_is_in_ram_at_a_link_cut_is_kept():
    class Cut:
        def __init__(self, data):
            self._raw = Raw(data)

        def readinto(self, buffer, n):
            n = self._raw.readinto(buffer, n)
            if n is None:
                raise OSError(104)
            return n

    data = data_of(9000)
    with Slots() as store:
        target = opened(store, data)
        for upto in (100, 700, 3000, 4095, 4096, 8191, 8999, 9000):
            if target.position == target.end:
                target.end_block()
            if target.end < upto:
                fill(target, data, target.end)
            with raises(OSError):
                target.receive(Cut(data[target.position : upto]), target.room() + 1)
            assert target.position == upto
        assert store.content(9000) == data


def test_a_position_that_can_not_be_is_none():
    data = data_of(20000)
    known = {"version": "0.2", "md5sum": push_of(data).md5, "file_size": 20000}
    for said in (-1, 20001, 10**9, None, "x", 4096.0, True, [1]):
        with Slots() as store:
            store.put(data[:8192], position=said, **known)
            target = store.target()
            assert target.open(push_of(data)) == 0
            fill(target, data)
            digest(target)
            target.finish()


def test_a_whole_slot_is_hashed_before_it_is_used():
    data = data_of(20000)
    with Slots() as store:
        target = opened(store, data)
        fill(target, data, 19000)
        assert target.digest_more(4096) and target.digested == 0
        fill(target, data)
        assert digest(target) == 4
        target.finish()
        # The power goes: whole, but is it still what it was?
        target = store.target()
        assert target.open(push_of(data)) == 20000
        store.esp32.slots["ota_1"][12345] ^= 4
        digest(target)
        with raises(OtaError, "MD5") as caught:
            target.finish()
        assert caught.value.code == MISMATCH


def test_the_last_step_of_the_digest_is_as_long_as_is_left():
    data = data_of(70000)
    with Slots(blocks=40) as store:
        target = opened(store, data)
        fill(target, data)
        assert not target.digest_more(65536) and target.digested == 65536
        assert target.digest_more(65536) and target.digested == 70000
        target.finish()


def test_an_error_of_the_flash_is_told_from_one_of_the_link():
    data = data_of(9000)
    for fail, at in (("erase", 600), ("program", 600), ("program", 100), ("erase", 4608)):
        with Slots() as store:
            target = opened(store, data)
            fill(target, data, at - 512 if at > 512 else 0)
            assert target.is_intact()
            store.esp32.fail = fail
            with raises(OSError, "FLASH"):
                fill(target, data, 9000, 512 if at == 600 else 50)
            assert not target.is_intact()
            target.discard()
            assert store.names() == []


def test_a_checkpoint_that_can_not_be_written_is_the_flash_too():
    data = data_of(70000)

    def full(path, value):
        raise OSError(28)

    with Slots(blocks=40) as store:
        target = opened(store, data)
        with patched(json_file, save=full):
            with raises(OSError):
                fill(target, data, 65536)
        assert not target.is_intact()


def test_an_image_that_does_not_fit_is_refused_before_anything_is_erased():
    with Slots(blocks=4) as store:
        write_file(store.path + "/0.1.bin", b"x")
        with raises(OtaError, "not enough space: a slot has 16 KiB") as caught:
            opened(store, data_of(16385))
        assert caught.value.code == FAILED and not caught.value.again
        assert store.esp32.erases == 0 and store.names() == ["0.1.bin"]
        data = data_of(16384)
        target = opened(store, data)
        fill(target, data)
        digest(target)
        target.finish()
        assert store.content(16384) == data


def test_the_slot_of_a_checkpoint_must_be_the_next_one():
    data = data_of(20000)
    known = {"version": "0.2", "md5sum": push_of(data).md5, "file_size": 20000, "position": 8192}
    with Slots() as store:
        store.put(data[:8192], **known)
        store.esp32.running = "ota_1"
        assert store.target().open(push_of(data)) == 0
        assert json_file.load(store.path + "/0.2.json")["slot"] == "ota_0"


def test_where_a_download_goes_on_or_begins():
    data = image_of(5000)
    push = push_of(data)
    known = {"version": "0.2", "md5sum": push.md5, "file_size": 5000}
    with Slots() as store:

        def kind(layout=OTA, running=None):
            esp32 = FakeEsp32(layout=layout)
            esp32.running = running or esp32.running
            with installed("esp32", esp32):
                files = firmware_folder.prepare(store.path + "/0.2", push.size)
                target = once("slot_finder").find(files, push)
                return "first byte" if target is files else "slot" if target else "file"

        assert kind() == "first byte"
        # Without a slot the first byte is to refuse an image.
        for layout, running in ((PLAIN, None), (ONE_SLOT, None), (ONE_SLOT, "ota_0")):
            assert kind(layout, running) == "first byte"
        assert store.names() == []
        json_file.save(store.path + "/0.2.json", dict(known, slot="ota_1"))
        assert kind() == "slot"
        assert kind(PLAIN) == "first byte"
        # A file that was begun is gone on with, unless it is an image's.
        json_file.save(store.path + "/0.2.json", known)
        assert kind() == "first byte"
        for begun, found in ((b"", "first byte"), (b"\xe9\1", "first byte"), (b"iv", "file")):
            write_file(store.path + "/0.2.bin", begun)
            assert kind() == found
        json_file.save(store.path + "/0.2.json", dict(known, md5sum="0" * 32))
        assert kind() == "first byte"
        json_file.remove(store.path + "/0.2.json")
        write_file(store.path + "/0.2.bin", b"i" * 5000)
        assert kind() == "file"
        write_file(store.path + "/0.2.bin", data)
        assert kind() == "first byte"


def test_a_target_can_be_discarded_whatever_fails():
    """A partition table that can't be read is the end of an update, not of the client."""

    class Unreadable:
        class Partition:
            RUNNING = 1

            def __init__(self, *_args):
                raise OSError("partition table")

    with Slots() as store, installed("esp32", Unreadable):
        files = firmware_folder.prepare(store.path + "/0.2", 5000)
        with raises(OSError, "partition table"):
            once("slot_finder").find(files, push_of(image_of(5000)))
        files.discard()


class Pieces:
    """A socket with pieces of these sizes, by turns, that allocates nothing."""

    def __init__(self, sizes):
        self._sizes = sizes
        self._turn = 0

    def readinto(self, buffer, n):
        self._turn = (self._turn + 1) % len(self._sizes)
        size = self._sizes[self._turn]
        return n if n < size else size


def _blocks(target, raw, count):
    while count:
        target.receive(raw, target.end - target.position)
        if target.position == target.end:
            target.end_block()
            target.digest_more(4096)
            count -= 1


def test_a_block_allocates_nothing():
    for sizes in ((512,), (1436,), (100,), (512, 412, 512), (1,)):
        with Slots(blocks=16) as store:
            target = opened(store, data_of(60000))
            raw = Pieces(sizes)
            target = target.target
            _blocks(target, raw, 1)
            micropython.heap_lock()
            try:
                _blocks(target, raw, 10)
            finally:
                micropython.heap_unlock()
            assert target.position == 11 * 4096


def test_a_stream_in_memory_takes_and_gives_a_number_of_bytes():
    stream = io.BytesIO(512)
    assert stream.write(b"abcdef", 4) == 4
    assert stream.tell() == 4
    stream.seek(0)
    buffer = bytearray(3)
    assert stream.readinto(buffer) == 3 and buffer == b"abc"
