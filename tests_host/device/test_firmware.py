"""A part-downloaded firmware on a file system: durable lengths, identity, room, digest."""

import binascii
import hashlib
import os

import vfs
from targets import STORES, FileDownload, digest, fill, push_of, saves

import ivota
from ivota import OtaError, file_target, firmware_folder, json_file
from ivota.firmware_folder import file_stem, size_of
from ivota.firmware_offer import Push
from ivota.result_codes import FAILED, MISMATCH
from support import data_of, patched, raises, read_file, tmp_dir, write_file


def littlefs_ends(size, block=4096):
    """Where the blocks of a littlefs file end: block n > 0 begins with ctz(n) + 1 pointers."""
    ends = []
    end = n = 0
    while end < size:
        pointers = 0
        if n:
            pointers = 1
            while not n >> (pointers - 1) & 1:
                pointers += 1
        end += block - 4 * pointers
        ends.append(min(end, size))
        n += 1
    return ends


class FakeOs:
    """`os`, with a file system of `free` blocks of `block` bytes."""

    def __init__(self, free=1000, block=4096):
        self.free = free
        self.block = block
        self.removed = []

    def statvfs(self, path):
        os.statvfs(path)
        return (self.block, self.block, 512, self.free, self.free, 0, 0, 0, 0, 255)

    def remove(self, path):
        os.remove(path)
        self.removed.append(path.rsplit("/", 1)[-1])

    def __getattr__(self, name):
        return getattr(os, name)


def test_safe_names_are_kept():
    for version in ("0.1", "v1.2.3-rc_4", "a", "x" * 32, "0..1"):
        assert file_stem(version) == version


def test_others_are_hashed():
    for version in ("", ".", "..", ".hidden", "x" * 33, "a/b", "../x", "a b", "ä", "a\0", "a\\b"):
        stem = file_stem(version)
        assert len(stem) == 16
        assert stem == binascii.hexlify(hashlib.sha256(version.encode()).digest()).decode()[:16]


def test_names_that_differ_in_their_case_are_two_files_on_fat_too():
    """Else a push of V2 would take the place of v2, which runs."""
    assert len(file_stem("V2")) == 16
    if not hasattr(vfs, "VfsFat"):
        return
    sectors = bytearray(512 * 1000)

    class Flash:
        def readblocks(self, n, buf, offset=0):
            buf[:] = sectors[n * 512 : n * 512 + len(buf)]

        def writeblocks(self, n, buf, offset=0):
            sectors[n * 512 : n * 512 + len(buf)] = buf

        def ioctl(self, op, _arg):
            return {4: 1000, 5: 512}.get(op, 0)

    vfs.VfsFat.mkfs(Flash())
    vfs.mount(Flash(), "/fat")
    try:
        write_file("/fat/v2.bin", b"it runs")
        target = FileDownload("/fat", "/fat/v2.bin")
        target.open(push_of(data_of(20000), version="V2"))
        target.stop()
        assert read_file("/fat/v2.bin") == b"it runs"
    finally:
        vfs.umount("/fat")


def test_size_of():
    with tmp_dir() as path:
        assert size_of(path + "/x") == -1
        write_file(path + "/x", b"abc")
        assert size_of(path + "/x") == 3


def test_a_whole_download():
    data = data_of(20000)
    for Store in STORES:
        with Store() as store:
            target = store.target()
            assert target.open(push_of(data)) == 0
            assert store.names() == store.unfinished
            fill(target, data)
            digest(target)
            target.finish()
            assert store.content(20000) == data
            assert store.names() == store.verified


def test_the_folder_is_made():
    data = data_of(100)
    for Store in STORES:
        with Store() as store:
            store.path += "/fw"
            store.target().open(push_of(data))
            assert store.names() == store.unfinished


def test_blocks_end_where_littlefs_ends_them():
    data = data_of(120000)
    with tmp_dir() as path, patched(firmware_folder, os=FakeOs()):
        target = FileDownload(path)
        target.open(push_of(data))
        assert fill(target, data, chunk=1436) == littlefs_ends(120000)
        target.close()


def test_block_ends_of_other_sizes():
    data = data_of(20000)
    for block in (512, 1024, 2048):
        with tmp_dir() as path, patched(firmware_folder, os=FakeOs(block=block)):
            target = FileDownload(path)
            target.open(push_of(data))
            assert fill(target, data) == littlefs_ends(20000, block)
            target.close()


class FakeFat(FakeOs):
    """Names in capitals are the same names."""

    def stat(self, path):
        folder, slash, name = path.rpartition("/")
        return os.stat(folder + slash + name.lower())


def test_on_fat_blocks_are_whole_and_flushed_every_64_kib():
    data = data_of(150000)
    for cluster in (512, 4096, 32768):
        with tmp_dir() as path, patched(firmware_folder, os=FakeFat(block=cluster)):
            target = FileDownload(path)
            target.open(push_of(data))
            ends = fill(target, data, 140000)
            assert ends == list(range(4096, 140000, 4096))
            assert target.durable == 131072
            # Only what is on flash is digested.
            assert digest(target, 1 << 20) == 0 and target.digested == 131072
            fill(target, data)
            assert target.durable == 150000
            digest(target)
            target.finish()
            assert read_file(target.path) == data


def test_block_ends_after_a_resume_anywhere():
    data = data_of(30000)
    ends = littlefs_ends(30000)
    for start in (1, 4095, 4096, 4097, ends[1] - 1, ends[1], ends[2], 17777, 29999):
        with tmp_dir() as path, patched(firmware_folder, os=FakeOs()):
            target = FileDownload(path)
            target.open(push_of(data))
            fill(target, data, start)
            target.stop()
            target = FileDownload(path)
            assert target.open(push_of(data)) == start
            assert fill(target, data) == [end for end in ends if end > start]
            digest(target)
            target.finish()
            assert read_file(target.path) == data


def test_where_a_long_file_goes_on():
    """The block is found by arithmetic, not by counting from the file's start."""
    ends = littlefs_ends(300000)
    for number in (15, 16, 17, 31, 32, 62, 63, 64, 65):
        for length in (ends[number] - 1, ends[number], ends[number] + 1):
            with tmp_dir() as path, patched(firmware_folder, os=FakeOs()):
                push = Push("0.2", "u", "0" * 32, 300000)
                write_file(path + "/0.2.bin", bytes(length))
                known = {"version": "0.2", "md5sum": push.md5, "file_size": 300000}
                json_file.save(path + "/0.2.json", known)
                target = FileDownload(path)
                assert target.open(push) == length
                assert target.room() == ends[number + (length >= ends[number])] - length
                target.close()


def test_room_never_passes_block_or_file():
    data = data_of(5000)
    for Store in STORES:
        with Store() as store, patched(firmware_folder, os=FakeOs()):
            target = store.target()
            target.open(push_of(data))
            assert target.room() == 4096
            fill(target, data, 4000)
            assert target.room() == 96
            fill(target, data, 4096)
            assert target.room() == 904
            fill(target, data)
            assert target.room() == 0
            target.close()


def test_a_block_is_on_flash_when_write_says_so():
    data = data_of(10000)
    for Store in STORES:
        with Store() as store, patched(firmware_folder, os=FakeOs()):
            target = store.target()
            target.open(push_of(data))
            while target.position < len(data):
                n = min(512, target.room())
                if target.take(data[target.position : target.position + n], n):
                    assert target.position == target.durable
                    assert store.content(target.position) == data[: target.position]
                else:
                    assert target.durable <= target.position
            target.close()


def test_checkpoint_says_identity():
    data = data_of(100)
    for Store in STORES:
        with Store() as store:
            target = store.target()
            push = push_of(data)
            target.open(push)
            known = json_file.load(store.path + "/0.2.json", True)
            assert known.pop("slot", None) == target.slot
            assert known == {
                "version": "0.2",
                "md5sum": push.md5,
                "file_size": 100,
                "position": 0,
            }
            target.close()


def test_checkpoint_is_written_at_identity_change_and_orderly_stop_alone():
    data = data_of(50000)
    with tmp_dir() as path:
        target = FileDownload(path)
        assert saves(target.open, push_of(data)) == 1
        assert saves(fill, target, data, 20000) == 0
        assert saves(digest, target) == 0
        assert saves(target.stop) == 1
        assert json_file.load(path + "/0.2.json")["position"] == 20000
        target = FileDownload(path)
        assert saves(target.open, push_of(data)) == 0
        assert saves(target.stop) == 0
        assert saves(target.open, push_of(data)) == 0
        assert saves(fill, target, data) == 0
        assert saves(digest, target) == 0
        assert saves(target.finish) == 0


def test_the_length_decides_not_the_position():
    data = data_of(20000)
    for said in (0, 5, 15000, 10**9, -1, None, "x"):
        with tmp_dir() as path:
            push = push_of(data)
            write_file(path + "/0.2.bin", data[:9000])
            known = {"version": "0.2", "md5sum": push.md5, "file_size": 20000, "position": said}
            json_file.save(path + "/0.2.json", known)
            target = FileDownload(path)
            assert target.open(push) == 9000
            fill(target, data)
            digest(target)
            target.finish()
            assert read_file(target.path) == data


def test_a_checkpoint_without_a_position_can_be_committed():
    data = data_of(20000)
    with tmp_dir() as path:
        push = push_of(data)
        write_file(path + "/0.2.bin", data[:9000])
        json_file.save(
            path + "/0.2.json", {"version": "0.2", "md5sum": push.md5, "file_size": 20000}
        )
        target = FileDownload(path)
        assert target.open(push) == 9000
        target.stop()
        assert json_file.load(path + "/0.2.json")["position"] == 9000


def test_the_url_is_not_identity():
    data = data_of(20000)
    for Store in STORES:
        with Store() as store:
            target = store.target()
            target.open(push_of(data))
            fill(target, data, 8000)
            target.stop()
            target = store.target()
            at = target.open(push_of(data, url="https://elsewhere/?sign=2"))
            assert at == store.goes_on(8000, 20000)
            target.close()


def test_on_after_an_orderly_stop_anywhere():
    data = data_of(9000)
    for Store in STORES:
        for stop in (1, 511, 512, 513, 4095, 4096, 4097, 8191, 8192, 8999, 9000):
            with Store() as store:
                target = store.target()
                target.open(push_of(data))
                fill(target, data, stop, 100)
                target.stop()
                target = store.target()
                assert target.open(push_of(data)) == store.goes_on(stop, 9000)
                fill(target, data, chunk=300)
                digest(target)
                target.finish()
                assert store.content(9000) == data


def test_same_version_with_new_content_starts_afresh():
    old, new = data_of(20000), data_of(20000, 9)
    for Store in STORES:
        with Store() as store:
            target = store.target()
            target.open(push_of(old))
            fill(target, old, 8192)
            target.stop()
            target = store.target()
            assert target.open(push_of(new)) == 0
            assert json_file.load(store.path + "/0.2.json")["md5sum"] == push_of(new).md5
            fill(target, new)
            digest(target)
            target.finish()
            assert store.content(20000) == new


def test_each_part_of_the_identity_counts():
    data = data_of(20000)
    push = push_of(data)
    right = {"version": "0.2", "md5sum": push.md5, "file_size": 20000, "position": 8192}
    changes = [(None, None)]
    for key, value in (("version", "0.20"), ("md5sum", "0" * 32), ("file_size", 20001)):
        changes += [(key, wrong) for wrong in (value, None, 1.5)]
    for Store in STORES:
        for key, wrong in changes:
            with Store() as store:
                store.put(data[:8192], **(dict(right, **{key: wrong}) if key else right))
                target = store.target()
                assert target.open(push) == (0 if key else 8192)
                target.close()


def test_bytes_without_a_checkpoint_are_not_ours():
    data = data_of(20000)
    for Store in STORES:
        with Store() as store:
            store.put(data[:8192])
            target = store.target()
            assert target.open(push_of(data)) == 0
            target.close()


def test_a_whole_file_without_a_checkpoint_is_looked_at():
    data = data_of(20000)
    with tmp_dir() as path:
        write_file(path + "/0.2.bin", data)
        target = FileDownload(path)
        assert target.open(push_of(data)) == 20000
        assert target.room() == 0
        digest(target)
        target.finish()
        assert os.listdir(path) == ["0.2.bin"]


def test_a_checkpoint_that_says_complete_is_checked():
    data = data_of(20000)
    push = push_of(data)
    known = {"version": "0.2", "md5sum": push.md5, "file_size": 20000, "position": 20000}
    for Store in STORES:
        with Store() as store:
            store.put(data[:-1] + b"?", **known)
            target = store.target()
            assert target.open(push) == 20000
            assert target.room() == 0
            digest(target)
            with raises(OtaError, "MD5") as caught:
                target.finish()
            assert caught.value.code == MISMATCH
            assert size_of(store.path + "/0.2.json") > 0
            target.discard()
            assert store.names() == []


def test_the_checkpoint_of_a_slot_is_no_files():
    """What is in the slot is not in the file; and a slot must not go on where a file was."""
    data = data_of(20000)
    known = {"version": "0.2", "md5sum": push_of(data).md5, "file_size": 20000, "position": 8192}
    with tmp_dir() as path:
        json_file.save(path + "/0.2.json", dict(known, slot="ota_1"))
        target = FileDownload(path)
        assert target.open(push_of(data)) == 0
        target.close()
        assert json_file.load(path + "/0.2.json") == dict(known, position=0)


def test_longer_than_announced_starts_afresh():
    data = data_of(20000)
    with tmp_dir() as path:
        push = push_of(data)
        write_file(path + "/0.2.bin", data + b"x")
        json_file.save(
            path + "/0.2.json",
            {"version": "0.2", "md5sum": push.md5, "file_size": 20000, "position": 20001},
        )
        target = FileDownload(path)
        assert target.open(push) == 0
        assert size_of(target.path) == 0
        target.close()


def test_a_checkpoint_without_its_file_starts_at_nothing():
    data = data_of(1000)
    with tmp_dir() as path:
        target = FileDownload(path)
        target.open(push_of(data))
        target.close()
        os.remove(path + "/0.2.bin")
        assert target.open(push_of(data)) == 0
        fill(target, data)
        digest(target)
        target.finish()


def test_a_version_that_is_no_file_name_stays_in_the_folder():
    data = data_of(100)
    stem = file_stem("../../escape")
    for Store in STORES:
        with Store() as store:
            store.path += "/fw"
            target = store.target()
            target.open(push_of(data, "../../escape"))
            fill(target, data)
            digest(target)
            target.finish()
            assert store.names() == [name.replace("0.2", stem) for name in store.verified]
            store.path = store.path[:-3]
            assert store.names() == ["fw"]


def test_stale_files_go_kept_ones_stay():
    data = data_of(100)
    for Store in STORES:
        with Store() as store:
            for name in ("0.0.bin", "0.0.json", "0.1.bin", "junk", "0.9.bin", "0.9.json~"):
                write_file(store.path + "/" + name, b"x")
            target = store.target(store.path + "/0.1.bin", store.path + "/0.0.bin")
            target.open(push_of(data))
            assert store.names() == ["0.0.bin", "0.1.bin"] + store.unfinished
            target.close()


def test_a_resume_removes_nothing():
    data = data_of(1000)
    with tmp_dir() as path, patched(firmware_folder, os=FakeOs(free=0)) as module:
        module.os.free = 100
        target = FileDownload(path, path + "/0.1.bin")
        target.open(push_of(data))
        fill(target, data, 500)
        target.stop()
        module.os.free = 0
        module.os.removed.clear()
        assert target.open(push_of(data)) == 500
        assert module.os.removed == []
        target.close()


def test_the_spare_goes_only_for_room():
    with tmp_dir() as path:

        class Tight(FakeOs):
            def statvfs(self, where):
                self.free = 60 if size_of(path + "/0.0.bin") >= 0 else 160
                return FakeOs.statvfs(self, where)

        write_file(path + "/0.0.bin", b"spare")
        write_file(path + "/0.1.bin", b"keep")
        with patched(firmware_folder, os=Tight()):
            target = FileDownload(path, path + "/0.1.bin", path + "/0.0.bin")
            target.open(Push("0.2", "u", "0" * 32, 400000))
            target.close()
        assert sorted(os.listdir(path)) == ["0.1.bin", "0.2.bin", "0.2.json"]


def test_no_room_says_how_much():
    data = data_of(100)
    push = Push("0.2", "u", "0" * 32, 708482)
    with tmp_dir() as path, patched(firmware_folder, os=FakeOs(free=100)):
        write_file(path + "/0.1.bin", data)
        target = FileDownload(path, path + "/0.1.bin")
        with raises(OtaError, "not enough space") as caught:
            target.open(push)
        assert caught.value.code == FAILED
        assert not caught.value.again
        need = int(caught.value.message.split(": ")[1].split(" ")[0])
        # 173 blocks, and a few for the file system itself.
        assert (173 - 100) * 4 <= need <= (173 - 100 + 8) * 4
        assert "KiB" in caught.value.message
        target.discard()
        assert os.listdir(path) == ["0.1.bin"]


def test_a_large_one_needs_room_for_what_the_file_system_keeps_of_it():
    for free, fits in ((1005, False), (1006, True)):
        with tmp_dir() as path, patched(firmware_folder, os=FakeOs(free)):
            target = FileDownload(path)
            push = Push("0.2", "u", "0" * 32, 1000 * 4096)
            if fits:
                assert target.open(push) == 0
                target.close()
            else:
                with raises(OtaError, "not enough space: 4 KiB more needed"):
                    target.open(push)


def test_a_whole_file_needs_no_room_once_more():
    """The power went after the checkpoint was removed, before the firmware was handed over."""
    data = data_of(20000)
    with tmp_dir() as path, patched(firmware_folder, os=FakeOs(free=1)):
        write_file(path + "/0.0.bin", b"spare")
        write_file(path + "/0.2.bin", data)
        target = FileDownload(path, None, path + "/0.0.bin")
        assert target.open(push_of(data)) == 20000
        target.close()
        assert size_of(path + "/0.0.bin") == 5


def test_an_absurd_size_is_no_room():
    with tmp_dir() as path:
        target = FileDownload(path)
        with raises(OtaError, "not enough space"):
            target.open(Push("0.2", "u", "0" * 32, 1 << 80))
        target.discard()


def test_check_takes_steps_and_only_what_is_durable():
    data = data_of(20000)
    with patched(firmware_folder, os=FakeOs()), patched(ivota, roomy=False):
        with tmp_dir() as path:
            target = FileDownload(path)
            target.open(push_of(data))
            assert len(target.buffer) == 512
            assert target.digest_more(4096)
            fill(target, data, 4095)
            assert target.digest_more(4096)
            assert target.digested == 0
            fill(target, data, 12000)
            assert target.durable == 8188
            assert not target.digest_more(4096)
            assert target.digested == 4096
            assert target.digest_more(4096)
            assert target.digested == 8188 - 8188 % 512
            fill(target, data)
            assert digest(target) == 3
            assert target.digested == 20000
            target.finish()


def test_where_the_heap_has_room_the_buffer_is_a_block():
    data = data_of(20000)
    with patched(firmware_folder, os=FakeOs()), patched(ivota, roomy=True):
        with tmp_dir() as path:
            target = FileDownload(path)
            target.open(push_of(data))
            assert len(target.buffer) == 4096
            fill(target, data, 12000)
            assert target.durable == 8188
            assert target.digest_more(4096)
            assert target.digested == 4096
            fill(target, data)
            assert digest(target) == 3
            assert target.digested == 20000
            target.finish()


def test_room_that_is_in_pieces_takes_a_small_buffer():
    def pieces(size):
        if size > 512:
            raise MemoryError
        return bytearray(size)

    file_target.bytearray = pieces  # before the builtin one
    try:
        with tmp_dir() as path, patched(ivota, roomy=True):
            target = FileDownload(path)
            target.open(push_of(data_of(5000)))
            assert len(target.buffer) == 512
            target.close()
    finally:
        del file_target.bytearray


def test_a_prefix_from_before_is_read_again_in_steps():
    data = data_of(50000)
    for Store in STORES:
        with Store() as store:
            target = store.target()
            target.open(push_of(data))
            fill(target, data, 30000)
            target.stop()
            target = store.target()
            target.open(push_of(data))
            assert target.digested == 0
            fill(target, data)
            assert digest(target) == 12
            target.finish()


def test_check_does_not_move_where_bytes_go():
    data = data_of(30000)
    with tmp_dir() as path:
        target = FileDownload(path)
        target.open(push_of(data))
        while target.position < len(data):
            fill(target, data, min(target.position + 700, len(data)))
            target.digest_more(1024)
        digest(target)
        target.finish()
        assert read_file(target.path) == data


def test_the_digest_is_of_what_is_on_flash():
    data = data_of(20000)
    with tmp_dir() as path:
        target = FileDownload(path)
        target.open(push_of(data))
        fill(target, data)
        with open(target.path, "r+b") as file:
            file.seek(12345)
            file.write(b"\x00" if data[12345] else b"\x01")
        target.stop()
        target.open(push_of(data))
        digest(target)
        with raises(OtaError, "MD5"):
            target.finish()
        target.discard()


def test_a_file_that_became_shorter_is_an_error_not_a_loop():
    data = data_of(20000)
    with tmp_dir() as path:
        target = FileDownload(path)
        target.open(push_of(data))
        fill(target, data)
        write_file(target.path, b"")
        with raises(OSError, "ends at"):
            digest(target)
        target.discard()


def test_etag_is_kept_for_the_next_run():
    data = data_of(20000)
    for Store in STORES:
        with Store() as store:
            target = store.target()
            target.open(push_of(data))
            assert target.etag is None
            assert saves(target.note_etag, '"a"') == 1
            assert saves(target.note_etag, '"a"') == 0
            assert saves(target.note_etag, None) == 0
            target.stop()
            target = store.target()
            target.open(push_of(data))
            assert target.etag == '"a"'
            target.close()


def test_another_identity_forgets_the_etag():
    data = data_of(20000)
    for Store in STORES:
        with Store() as store:
            target = store.target()
            target.open(push_of(data))
            target.note_etag('"a"')
            target.stop()
            target = store.target()
            target.open(push_of(data_of(20000, 5)))
            assert target.etag is None
            target.close()


def test_discard_leaves_nothing_and_can_be_repeated():
    data = data_of(20000)
    for Store in STORES:
        with Store() as store:
            target = store.target()
            target.open(push_of(data))
            fill(target, data, 5000)
            target.discard()
            target.discard()
            target.close()
            assert store.names() == []


def test_small_files():
    for Store in STORES:
        for size in (1, 511, 512, 513, 4095, 4096, 4097):
            data = data_of(size)
            with Store() as store:
                target = store.target()
                target.open(push_of(data))
                fill(target, data, chunk=200)
                digest(target)
                target.finish()
                assert store.content(size) == data


class Volumes:
    """`os` of a littlefs of 512 blocks with a bundle mounted in it, as a board lists both."""

    FOLDERS = {"/": ("fw", "app", "main.py"), "/fw": ("0.1.bin",), "/app": ("data",)}
    SIZES = {"/main.py": 1, "/fw/0.1.bin": 100 * 4096 + 1, "/app/data": 100 * 4096}

    def __init__(self, free):
        self.free = free

    def statvfs(self, path):
        if path == "/app":
            return (1, 1, 0, 0, 0, 0, 0, 0, 1, 255)
        return (4096, 4096, 512, self.free, self.free, 0, 0, 0, 0, 255)

    def ilistdir(self, folder):
        for name in self.FOLDERS[folder]:
            yield name, 0x8000 if "." in name or name == "data" else 0x4000, 0

    def stat(self, path):
        if path not in self.SIZES:
            raise OSError(2)
        return (0x8000, 0, 0, 0, 0, 0, self.SIZES[path], 0, 0, 0)


def test_blocks_that_are_counted_twice():
    # Of 512, two folders have two each, and the files 102.
    for free, more in ((406, 0), (406 - 15, 0), (406 - 101, 101)):
        with patched(firmware_folder, os=Volumes(free)):
            stat = firmware_folder.os.statvfs("/")
            assert firmware_folder._uncounted("/fw", stat) == more, free
            for other in ((4096, 4096, 511, 0), (512, 512, 1 << 20, 0)):
                assert firmware_folder._uncounted("/fw", other) == 0
            # What is free in truth decides, less four blocks and one for the folders.
            truly = free + more
            assert firmware_folder._lacks("/fw/0.2.bin", (truly - 5) * 4096) == 0
            assert firmware_folder._lacks("/fw/0.2.bin", (truly + 5) * 4096) == 36
