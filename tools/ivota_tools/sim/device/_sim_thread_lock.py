"""Run one thread at a time, as on a board: the unix port has no lock around its interpreter.

Without a lock, two threads that import destroy each other's dictionaries. Here the thread that
runs Python holds the turn, and gives it up to sleep, to poll and to wait for a lock. A thread that
wants the turn makes the main thread give it up at its next backward jump.

The esp32 port (MICROPY_PY_THREAD_GIL in ports/esp32/mpconfigport.h) gives its lock up at each 32nd
backward jump (py/vm.c), in a sleep (ports/esp32/mphalport.c, mp_hal_delay_ms), and in a poll
(extmod/modselect.c, poll_set_poll_until_ready_or_timeout). The port keeps the lock for the part of
a sleep that is shorter than a tick of 10 ms. These threads do not: no test is about how two
threads share the core.
"""

import _thread
import select
import sys
import time

import micropython
import vfs
from _sim_flash import Flash
from micropython import const

_PAUSE_US = const(100)
_PATIENCE = const(3000)  # pauses before checking whether the holder waits in the system
_LOOKS = const(50)  # checks: on a busy machine, the holder may only lack a core

_turn = _thread.allocate_lock()
_owner = None
_asked = False
_others = 0  # threads besides the main one
_inside = 0  # 1 in a call of the flash: the file system around it must not be entered twice
_main = _thread.get_ident()
_proc = vfs.VfsPosix("/proc")
_states = {}  # for each thread, the file in which the system says whether it waits
_state = bytearray(64)


def _enter():
    """Let other threads see this thread's state in the system, if there is a /proc."""
    try:
        _states[_thread.get_ident()] = _proc.open("/thread-self/stat", "rb")
    except OSError:
        pass


def _in_system():
    """Return whether the holder of the turn waits in the system at each of several checks."""
    for _ in range(_LOOKS):
        if _owner is None:  # a thread that gives up the turn, or has just taken it
            return False
        file = _states.get(_owner)
        if file:
            file.seek(0)
            file.readinto(_state)
            if _state.find(b") S ") < 0:
                return False
        time.sleep_us(_PAUSE_US)
    return True


def take():
    """Wait for the turn; take it from a thread that waits in a system call."""
    global _owner, _asked
    me = _thread.get_ident()
    left = _PATIENCE
    while not _turn.acquire(0):
        if not _asked and me != _main:
            _asked = True
            micropython.schedule(_pass_on, None)
        time.sleep_us(_PAUSE_US)
        left -= 1
        if not left:
            if _in_system():
                break
            left = _PATIENCE
    _owner = me


def give():
    """Give up the turn, unless another thread has taken it."""
    global _owner
    if _owner == _thread.get_ident():
        _owner = None
        _turn.release()


def _pass_on(_):
    global _asked
    if _owner == _main and not _inside:
        give()
        time.sleep_us(5 * _PAUSE_US)
        take()
    _asked = False


# Without `*args`, which takes heap: a finaliser may call this while the heap is locked.
def _whole(method, default):
    """Wrap a flash method so that the turn is kept during the call."""

    def whole(flash, block, data, offset=default):
        global _inside
        _inside += 1
        try:
            return method(flash, block, data, offset)
        finally:
            _inside -= 1

    return whole


def _waiting(wait):
    """Wrap a function so that it waits without the turn."""

    def waits(*args):
        if not _others:
            return wait(*args)
        give()
        try:
            return wait(*args)
        finally:
            take()

    return waits


class _Module:
    """A module with some of its names replaced."""

    def __init__(self, module, **names):
        self._module = module
        for name, value in names.items():
            setattr(self, name, value)

    def __getattr__(self, name):
        return getattr(self._module, name)


class _Poll:
    def __init__(self):
        self._poll = select.poll()
        for name in ("register", "unregister", "modify"):
            setattr(self, name, getattr(self._poll, name))
        for name in ("poll", "ipoll"):
            setattr(self, name, _waiting(getattr(self._poll, name)))


class _Lock:
    def __init__(self):
        self._lock = _thread.allocate_lock()
        self.release = self._lock.release
        self.locked = self._lock.locked

    def acquire(self, wait=1, timeout=-1):
        while not self._lock.acquire(0):
            if not wait:
                return False
            give()
            time.sleep_us(_PAUSE_US)
            take()
        return True

    def __enter__(self):
        self.acquire()

    def __exit__(self, *_error):
        self.release()


def _start(body, args, *more):
    global _others
    if not _others:
        take()
    _others += 1

    def run():
        global _others
        take()
        _enter()
        try:
            body(*args, *more)
        except SystemExit:
            pass
        except BaseException as error:
            sys.print_exception(error)
        finally:
            _others -= 1
            file = _states.pop(_thread.get_ident(), None)
            if file:
                file.close()
            give()

    return _thread.start_new_thread(run, ())


def _install():
    """Make everything that is imported from now on take turns."""
    _enter()
    Flash.readblocks = _whole(Flash.readblocks, 0)
    Flash.writeblocks = _whole(Flash.writeblocks, -1)
    sleeps = {name: _waiting(getattr(time, name)) for name in ("sleep", "sleep_ms", "sleep_us")}
    sys.modules["time"] = _Module(time, **sleeps)
    sys.modules["select"] = _Module(select, poll=_Poll)
    sys.modules["_thread"] = _Module(
        _thread, start_new_thread=_start, allocate_lock=_Lock, LockType=_Lock
    )


_install()
