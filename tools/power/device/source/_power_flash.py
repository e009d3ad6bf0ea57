"""The simulated flash reads in machine code: a board that starts reads ten thousand times.

It stays source, for the interpreter's own compiler: machine code is for one kind of processor.
"""

import _sim_flash
import micropython

_in_python = _sim_flash.Flash.readblocks


@micropython.viper
def readblocks(self, block: int, buf, offset: int) -> int:
    words = ptr32(int(self._state))  # noqa: F821
    size = int(len(buf))
    at = (block << 12) + offset
    # Counted reads, and the first that fails; the rest is for the one that knows about faults.
    outside = block < 0 or offset < 0 or at + size > int(self._blocks) << 12
    if words[0] >= words[7] or outside or size & 3:
        return int(_slowly(self, block, buf, offset))
    words[0] += 1
    words[1] += size
    source = ptr32(int(self._base) + at)  # noqa: F821
    target = ptr32(buf)  # noqa: F821
    for i in range(size >> 2):
        target[i] = source[i]
    return 0


def _slowly(self, block, buf, offset):
    return _in_python(self, block, buf, offset) or 0


# Without an offset, as a FAT reads.
def _read(self, block, buf, offset=0):
    return readblocks(self, block, buf, offset)


_sim_flash.Flash.readblocks = _read
