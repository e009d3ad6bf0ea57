"""Reads of the simulated flash in machine code: a start makes thirty thousand of them.

It remains source, for the interpreter's own compiler: machine code depends on the processor.
"""

import _sim_flash
import micropython
import uctypes

# Addresses are numbers, and few names are looked up: either costs as much as a read.
_WORDS = 0x1FF00000
_BASE = 0x20000000
_LIMIT = 64  # a word after the state's own: the flash's size in bytes
_in_python = _sim_flash.Flash.readblocks
_begin = _sim_flash.Flash.__init__
_len = len
_whole = None  # the whole flash; another object may be a part of it


@micropython.viper
def _readblocks(block: int, buf, offset: int) -> int:
    words = ptr32(0x1FF00000)  # noqa: F821
    size = int(_len(buf))
    at = (block << 12) + offset
    # The general method handles everything unusual, such as a read that must fail.
    if words[0] >= words[7] or block < 0 or offset < 0 or at + size > words[64] or size & 3:
        return int(_slowly(block, buf, offset))
    words[0] += 1
    words[1] += size
    source = ptr32(0x20000000 + at)  # noqa: F821
    target = ptr32(buf)  # noqa: F821
    n = size >> 2
    i = 0
    while i < n:
        target[i] = source[i]
        i += 1
    return 0


def _slowly(block, buf, offset):
    return _in_python(_whole, block, buf, offset) or 0


def _init(self, base, blocks, state, words):
    global _whole
    _begin(self, base, blocks, state, words)
    if base == _BASE and state == _WORDS:
        if _whole is None:
            _whole = self
            page = uctypes.struct(state, (uctypes.ARRAY | 0, (_LIMIT + 1) | uctypes.UINT32))
            page[_LIMIT] = blocks << 12
        self.readblocks = _readblocks


_sim_flash.Flash.__init__ = _init
