"""Both kinds of target with the same verbs, for tests that say the same of each.

for Store in STORES:
    with Store() as store:
        target = store.target()
"""

import binascii
import hashlib
import os

from doubles.fakeesp32 import FakeEsp32

# Before `download_target`, which then has the copy that tests patch.
import ivota.firmware_files  # noqa: F401
from ivota import checkpoint, download_target, file_writer, firmware_files, json_file, once
from ivota.push import Push
from support import installed, patched, read_file, tmp_dir, write_file


def push_of(data, version="0.2", url="http://a/"):
    return Push(version, url, binascii.hexlify(hashlib.md5(data).digest()).decode(), len(data))


class Raw:
    """A socket that has some bytes, and nothing more for now."""

    def __init__(self, data):
        self._data = data

    def readinto(self, buffer, n):
        part, self._data = self._data[:n], self._data[n:]
        buffer[: len(part)] = part
        return len(part) or None


class Target(download_target.Target):
    """A target with what is done to it as methods; this one is a file."""

    verbs = file_writer

    def __init__(self, directory, keep=None, spare=None):
        self._where = (directory, keep, spare)

    def open(self, push):
        directory, keep, spare = self._where
        self.md5 = push.md5
        self._open(directory + "/" + firmware_files.file_stem(push.version), push, keep, spare)
        return self.position

    def _open(self, base, push, keep, spare):
        download_target.open_target(self, base, push, keep, spare)

    def room(self):
        return self.end - self.position

    def write(self, part, n):
        """Append n bytes; True when that ended a block."""
        self.verbs.fill(self, Raw(part[:n]), self.room())
        if self.position < self.end:
            return False
        self.verbs.end_block(self)
        return True

    def check(self, most):
        return self.verbs.check(self, most)

    def note(self, etag):
        checkpoint.note(self, etag)

    def commit(self):
        checkpoint.drop(self)

    def finish(self):
        checkpoint.finish(self, self.md5, True)

    def close(self):
        checkpoint.close(self)

    def discard(self):
        checkpoint.discard(self)


class SlotTarget(Target):
    """The same in an OTA slot."""

    def _open(self, base, push, keep, spare):
        ota_slots = once("ota_slots")
        ota_slots.find(self, base, push)
        if self.kind != "slot_writer":
            ota_slots.begin(self, push, (keep, spare))
        self.verbs = once("slot_writer")


class Files:
    """A board whose firmware is a file: its folder is `path`."""

    kind = Target

    def __enter__(self):
        self._tmp = tmp_dir()
        self.path = self._tmp.__enter__()
        return self

    def __exit__(self, *exc):
        self._tmp.__exit__(*exc)

    def target(self, *kept):
        return self.kind(self.path, *kept)

    def names(self):
        return sorted(os.listdir(self.path))

    def content(self, size):
        """What lies there of version 0.2; not more than so many bytes."""
        return read_file(self.path + "/0.2.bin")[:size]

    def put(self, data, **known):
        """Have these bytes there, and a checkpoint with these values."""
        write_file(self.path + "/0.2.bin", data)
        if known:
            json_file.save(self.path + "/0.2.json", known)

    def goes_on(self, length, size):
        """Where a download goes on that was stopped at `length`."""
        return length

    # Of version 0.2, while it is unfinished and when it is verified.
    unfinished = ["0.2.bin", "0.2.json"]
    verified = ["0.2.bin"]


class Slots(Files):
    """A board whose firmware is in its other OTA slot, `esp32.slots["ota_1"]`."""

    kind = SlotTarget

    def __init__(self, blocks=16, chip=0):
        self.esp32 = FakeEsp32(blocks, chip)

    def __enter__(self):
        Files.__enter__(self)
        self._module = installed("esp32", self.esp32)
        self._module.__enter__()
        return self

    def __exit__(self, *exc):
        self._module.__exit__(*exc)
        Files.__exit__(self, *exc)

    def content(self, size):
        return bytes(self.esp32.slots["ota_1"][:size])

    def put(self, data, **known):
        self.esp32.slots["ota_1"][: len(data)] = data
        if known:
            json_file.save(self.path + "/0.2.json", dict(known, slot="ota_1"))

    def goes_on(self, length, size):
        return length if length == size else length - length % 4096

    # The checkpoint stays until the image has proved itself.
    unfinished = verified = ["0.2.json"]


STORES = (Files, Slots)


def fill(target, data, stop=None, chunk=512):
    """Write as the client does, up to `stop`; the positions at which a block became durable."""
    stop = len(data) if stop is None else stop
    ends = []
    while target.position < stop:
        n = min(chunk, target.room(), stop - target.position)
        part = bytearray(data[target.position : target.position + n])
        part += b"\xee" * 3  # what else is in the client's buffer
        if target.write(part, n):
            ends.append(target.position)
    return ends


def digest(target, most=4096):
    steps = 0
    while not target.check(most):
        steps += 1
    return steps


def saves(function, *args):
    """How many times the checkpoint was written by a call."""
    count = []
    real = json_file.save

    def save(path, value):
        count.append(path)
        real(path, value)

    with patched(json_file, save=save):
        function(*args)
    return len(count)
