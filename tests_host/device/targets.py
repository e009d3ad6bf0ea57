"""Both kinds of target, for tests that say the same of each.

for Store in STORES:
    with Store() as store:
        target = store.target()
"""

import binascii
import hashlib
import os

from doubles.fakeesp32 import FakeEsp32

# Before `download_preparation`, which then has the copy that tests patch.
import ivota.firmware_folder  # noqa: F401
from ivota import download_preparation, firmware_folder, json_file, once
from ivota.firmware_offer import Push
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


class FileDownload:
    """A download into a file; once it is open, it has what its target has."""

    def __init__(self, directory, keep=None, spare=None):
        self._directory = directory
        self.kept = (keep, spare)
        self.target = None

    def __getattr__(self, name):
        return getattr(self.target, name)

    def open(self, push):
        self.md5 = push.md5
        stem = self._directory + "/" + firmware_folder.file_stem(push.version)
        files = firmware_folder.prepare(stem, push.size)
        self.target = files  # as the job does: it can be discarded
        self.target = self.opened(files, push)
        return self.target.position

    def opened(self, files, push):
        return download_preparation.open_file(files, push, *self.kept)

    def room(self):
        return self.target.end - self.target.position

    def take(self, part, n):
        """Append n bytes; True when that ended a block."""
        self.target.receive(Raw(part[:n]), self.room())
        if self.room():
            return False
        self.target.end_block()
        return True

    def finish(self):
        self.target.verify(self.md5, True)


class SlotDownload(FileDownload):
    """The same in an OTA slot."""

    def opened(self, files, push):
        slot_finder = once("slot_finder")
        target = slot_finder.find(files, push)
        if not target or not target.slot:
            target = slot_finder.begin(files, push, self.kept)
        return target


class Files:
    """A board whose firmware is a file: its folder is `path`."""

    kind = FileDownload

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

    kind = SlotDownload

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
        if target.take(part, n):
            ends.append(target.position)
    return ends


def digest(target, most=4096):
    steps = 0
    while not target.digest_more(most):
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
