"""Find where a download resumes after a power cut: `offsets.py IMAGE LOG PUSH SEED`.

It reconstructs the flash before each operation of the log, and in the middle of each, and lets
the target open on it. It prints a line for each operation: the offset before it, and the offset
with the operation done in part. The last line is the offset after all operations.
"""

import json
import random
import struct
import sys

import vfs

from ivota import download_preparation, firmware_folder

_BLOCK = 4096
_HEAD = 20


class Push:
    """The fields of a push that the target reads."""

    def __init__(self, message):
        self.version = message["version"]
        self.md5 = message["md5sum"]
        self.size = message["file_size"]


class Image:
    """Flash in memory; the next `copy` discards all changes."""

    def __init__(self, data):
        self._blocks = len(data) // _BLOCK
        self.data = bytearray(data)
        self._view = memoryview(self.data)

    def readblocks(self, block, buffer, offset=0):
        start = block * _BLOCK + offset
        buffer[:] = self._view[start : start + len(buffer)]

    def writeblocks(self, block, buffer, offset):
        start = block * _BLOCK + offset
        self._view[start : start + len(buffer)] = buffer

    def ioctl(self, op, arg):
        if op == 4:
            return self._blocks
        if op == 5:
            return _BLOCK
        if op == 6:
            self.writeblocks(arg, b"\xff" * _BLOCK, 0)
        return 0


def resume(image, push, directory):
    vfs.mount(vfs.VfsLfs2(image), "/flash")
    base = "/flash" + directory + "/" + firmware_folder.file_stem(push.version)
    target = download_preparation.open_file(firmware_folder.prepare(base, push.size), push)
    target.close()
    vfs.umount("/flash")
    return target.position


def main():
    with open(sys.argv[1], "rb") as file:
        now = bytearray(file.read())
    push = Push(json.loads(sys.argv[3]))
    random.seed(int(sys.argv[4]))
    scratch = Image(now)
    with open(sys.argv[2], "rb") as log:
        while True:
            head = log.read(_HEAD)
            if not head:
                break
            kind, block, offset, size, _ = struct.unpack("<5I", head)
            data = log.read(size) if kind == 1 else b"\xff" * _BLOCK
            start = block * _BLOCK + offset
            scratch.data[:] = now
            before = resume(scratch, push, "/firmware")
            scratch.data[:] = now
            done = random.randrange(1, len(data))
            scratch.data[start : start + done] = data[:done]
            torn = resume(scratch, push, "/firmware")
            now[start : start + len(data)] = data
            print(before, torn)
    scratch.data[:] = now
    print(resume(scratch, push, "/firmware"))


main()
