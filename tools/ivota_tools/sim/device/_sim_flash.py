"""Simulate NOR flash in a file mapped into memory."""

# The mapping is shared: data is in the file whatever happens to this process, and the host sees it
# at once. The same holds for the state file: counters, the armed fault, and the operation in which
# the flash died. Nothing here allocates, so a measured heap is the board's own, and littlefs can
# be called while the heap is locked.

import ffi
import uctypes
from micropython import const

# Words of the state file; flash.py on the host names them in the same order.
_READS = const(0)
_READ_BYTES = const(1)
_PROGRAMS = const(2)
_PROGRAM_BYTES = const(3)
_ERASES = const(4)
_OPERATIONS = const(5)
_FAULT_AT = const(6)
_FAULT_READ_AT = const(7)
_FAULT_KINDS = const(8)
_FAULT_IS_ERROR = const(9)
_ERRORS = const(10)
_DIED_IN = const(11)
_VIOLATION = const(12)
_BLOCK = const(13)
_OFFSET = const(14)
_SIZE = const(15)
_WORDS = const(16)

_PAGE = const(4096)  # page 2 of the state file is erased flash, page 3 receives the data
_PROGRAM = const(1)
_ERASE = const(2)
_READ = const(4)
_SIGKILL = const(9)
_EIO = const(5)

# Below 2**30 an address is a small integer on 32 bits, too, and arithmetic needs no heap.
_STATE_ADDRESS = const(0x1FF00000)
_FLASH_ADDRESS = const(0x20000000)
_APART = const(0x8000000)

_libc = ffi.open(None)
_memcpy = _libc.func("v", "memcpy", "ppi")
_memcmp = _libc.func("i", "memcmp", "ppi")
_memset = _libc.func("v", "memset", "pii")


def _map(path, size, address):
    fd = _libc.func("i", "open", "si")(path, 2)
    if fd < 0:
        raise OSError(path)
    mmap = _libc.func("P", "mmap", "pliiil")
    return mmap(address, size, 3, 1, fd, 0)  # read and write, shared


def attach(path, state_path, blocks, number=0, kind=None):
    """Return the flash in these files; `number` identifies one of several. `kind` replaces
    `Flash`.
    """
    state = _map(state_path, 3 * _PAGE, _STATE_ADDRESS + number * _APART)
    words = uctypes.struct(state, (uctypes.ARRAY | 0, _WORDS | uctypes.UINT32))
    base = _map(path, blocks * _PAGE, _FLASH_ADDRESS + number * _APART)
    return (kind or Flash)(base, blocks, state, words)


# Like esp32.Partition: a write without an offset erases first, one with an offset does not
# (ports/esp32/esp32_partition.c, esp32_partition_writeblocks and esp32_partition_ioctl).
class Flash:
    def __init__(self, base, blocks, state, words):
        self._base = base
        self._blocks = blocks
        self._state = state
        self._words = words

    def readblocks(self, block, buf, offset=0):
        size = len(buf)
        self._check(block, offset, size)
        words = self._words
        if words[_READS] >= words[_FAULT_READ_AT] and self._fault(_READ, block, offset, buf):
            return -_EIO
        words[_READS] += 1
        words[_READ_BYTES] += size
        _memcpy(buf, self._base + (block << 12) + offset, size)

    def writeblocks(self, block, buf, offset=-1):
        size = len(buf)
        if offset < 0:
            offset = 0
            for n in range(block, block + (size + _PAGE - 1) // _PAGE):
                if self._erase(n):
                    return -_EIO
        if size > _PAGE:
            for n in range(0, size, _PAGE):
                if self._program(block + n // _PAGE, memoryview(buf)[n : n + _PAGE], offset):
                    return -_EIO
            return
        return self._program(block, buf, offset)

    def _program(self, block, buf, offset):
        size = len(buf)
        self._check(block, offset, size)
        words = self._words
        if words[_OPERATIONS] >= words[_FAULT_AT] and self._fault(_PROGRAM, block, offset, buf):
            return -_EIO
        address = self._base + (block << 12) + offset
        if _memcmp(address, self._state + _PAGE, size):
            self._violation(block, offset, size)
        words[_OPERATIONS] += 1
        words[_PROGRAMS] += 1
        words[_PROGRAM_BYTES] += size
        _memcpy(address, buf, size)

    def ioctl(self, op, arg):
        if op == 4:
            return self._blocks
        if op == 5:
            return _PAGE
        if op == 6:
            return self._erase(arg) or 0
        return 0

    def _erase(self, block):
        self._check(block, 0, _PAGE)
        words = self._words
        if words[_OPERATIONS] >= words[_FAULT_AT] and self._fault(_ERASE, block, 0, b""):
            return -_EIO
        words[_OPERATIONS] += 1
        words[_ERASES] += 1
        _memset(self._base + (block << 12), 0xFF, _PAGE)

    def _check(self, block, offset, size):
        if block < 0 or offset < 0 or (block << 12) + offset + size > self._blocks << 12:
            raise ValueError("the block is outside the flash")

    def _fault(self, kind, block, offset, buf):
        words = self._words
        if not words[_FAULT_KINDS] & kind:
            return False
        if words[_FAULT_IS_ERROR]:
            words[_ERRORS] += 1
            return True  # returned, not raised: an exception would interrupt littlefs halfway
        # The host completes the torn operation from this record before the next power-on.
        if kind == _PROGRAM:
            _memcpy(self._state + 2 * _PAGE, buf, len(buf))
        self._die(_DIED_IN, kind, block, offset, len(buf))

    def _violation(self, block, offset, size):
        print("sim: flash programmed without an erase: block %d, offset %d" % (block, offset))
        self._die(_VIOLATION, 1, block, offset, size)

    def _die(self, word, value, block, offset, size):
        words = self._words
        words[_BLOCK] = block
        words[_OFFSET] = offset
        words[_SIZE] = size
        words[word] = value
        _libc.func("i", "raise", "i")(_SIGKILL)
