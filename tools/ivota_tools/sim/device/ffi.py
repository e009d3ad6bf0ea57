"""Provide the C functions that simulated boards call, if MicroPython has no `ffi`.

A built-in `ffi` takes precedence over this one. The launcher maps files at addresses that are
known in advance (toolchain/preview_launcher.py). Words in one of them contain the exit code of
this process and the settings of its watchdog.
"""

import os
import time

import uctypes
import vfs
from micropython import const
from uctypes import bytearray_at

_BASE = const(1 << 44)
_CONTROL = const(0x1FE00000)
_LIMIT_MS = const(1)
_FEEDS = const(2)
_ABORTED = const(-6)
_APPEND = const(0o2000)

if not os.getenv("IVOTA_SIM_MAPPED"):
    raise OSError("this MicroPython has no ffi")

_all = bytearray_at(_BASE, 1 << 30)  # for single bytes: a slice of it would touch all of it
_words = uctypes.struct(_BASE + _CONTROL, (uctypes.ARRAY | 0, 3 | uctypes.UINT32))
_posix = vfs.VfsPosix()
_files = []
_ERASED = b"\xff" * 4096


def _mmap(address, *_):
    return _BASE + address


# A view of memory takes heap. If the heap is locked, bytes are copied one by one.
def _memcpy(to, source, size):
    if isinstance(to, int):
        try:
            bytearray_at(to, size)[:] = source
        except MemoryError:
            to -= _BASE
            for n in range(size):
                _all[to + n] = source[n]
    else:
        try:
            to[:] = bytearray_at(source, size)
        except MemoryError:
            source -= _BASE
            for n in range(size):
                to[n] = _all[source + n]


def _memcmp(one, other, size):
    try:
        return bytearray_at(one, size) != bytearray_at(other, size)
    except MemoryError:
        one -= _BASE
        other -= _BASE
        for n in range(size):
            if _all[one + n] != _all[other + n]:
                return True
        return False


# This is only used to erase one block, or less.
def _memset(to, _value, size):
    try:
        bytearray_at(to, size)[:] = _ERASED[:size]
    except MemoryError:
        to -= _BASE
        for n in range(to, to + size):
            _all[n] = 0xFF


def _open(path, flags):
    if not flags & _APPEND:
        return 0  # to map a file, which the launcher has done
    try:
        _files.append(_posix.open(path, "ab"))
    except OSError:
        return -1
    return len(_files) - 1


def _write(number, buf, _size):
    return _files[number].write(buf)


# At once, in the middle of anything, without finalisers.
def _end(code):
    _words[0] = code & 0xFFFFFFFF
    bytearray_at(0, 1)[0] = 0


def _raise(number):
    _end(-number)


def _abort():
    _end(_ABORTED)


def _setitimer(which, value, _old):
    if which:
        # Seconds of processor time, an upper limit for callers that wait for this process.
        return 0
    _words[_LIMIT_MS] = value[2] * 1000 + value[3] // 1000
    _words[_FEEDS] += 1
    return 0


def _rename(path, name):
    try:
        _posix.rename(path, name)
    except OSError as e:
        os.errno(e.errno)
        return -1
    return 0


def _pause():
    while True:
        time.sleep(1)


_functions = {
    "_exit": _end,
    "abort": _abort,
    "chdir": os.chdir,
    "dup2": lambda *_: 0,
    "fork": lambda: 0,  # this process was started for one board and is already the new one
    "memcmp": _memcmp,
    "memcpy": _memcpy,
    "memset": _memset,
    "mmap": _mmap,
    "open": _open,
    "pause": _pause,
    "prctl": lambda *_: 0,  # the launcher has done it
    "raise": _raise,
    "rename": _rename,
    "setitimer": _setitimer,
    "waitpid": lambda *_: -1,
    "write": _write,
}


class open:
    """Like `ffi.open(None)`."""

    def __init__(self, _library):
        pass

    def func(self, _result, name, _arguments):
        return _functions[name if isinstance(name, str) else name.decode()]
