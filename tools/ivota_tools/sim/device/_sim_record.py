"""Record each flash operation, to try power cuts at every one later."""

import _sim_flash
import ffi
import uctypes

_HEAD = 20
_APPEND = 0o2001  # write only, append

_libc = ffi.open(None)
_write = _libc.func("i", "write", "ipi")

received = 0  # a value that a measurement records with each operation


class Recorder(_sim_flash.Flash):
    """Set the file with `record(path)` before the first operation."""

    def record(self, path):
        self._log = _libc.func("i", "open", "si")(path, _APPEND)
        if self._log < 0:
            raise OSError(path)
        self._head = bytearray(_HEAD)
        self._fields = uctypes.struct(
            uctypes.addressof(self._head), (uctypes.ARRAY | 0, 5 | uctypes.UINT32)
        )

    def _program(self, block, buf, offset):
        error = _sim_flash.Flash._program(self, block, buf, offset)
        if error:
            return error
        self._note(1, block, offset, len(buf))
        _write(self._log, buf, len(buf))

    def _erase(self, block):
        error = _sim_flash.Flash._erase(self, block)
        if error:
            return error
        self._note(2, block, 0, 0)

    def _note(self, kind, block, offset, size):
        fields = self._fields
        fields[0] = kind
        fields[1] = block
        fields[2] = offset
        fields[3] = size
        fields[4] = received
        _write(self._log, self._head, _HEAD)
