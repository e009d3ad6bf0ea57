"""Start a board like `_sim_run`, with its network in this process and without real waits."""

# Arguments: files for the plan, the firmware, `noted`, and the flash operations; the others are
# those of `_sim_run` after the reset cause. It then reads lines and forks for each, so that every
# board starts in a process in which no board has run. A line contains: whether the cloud has its
# final report, the reset cause, and whether operations are recorded. The answer is the exit status
# of that process, as waitpid returns it. The board's output goes to standard error.

import array
import gc
import json
import os
import random
import sys

import _power_clock
import _power_cloud
import _power_flash  # noqa: F401
import _power_net
import _sim_flash
import ffi
import machine
import uctypes
import vfs

_NOTED_ADDRESS = 0x1FD00000
_CONTENT_ADDRESS = 0x1D000000
_QUIET_MS = 200  # silence after which nothing more will come
_MOST_MS = 400000  # limit for an update, from a start
_CPU_S = 40
_SIGALRM = 14
_SETTLED = 99
_LATE = 98

_BUILT_IN = ("binascii", "errno", "hashlib", "io", "json", "micropython", "os", "sys")
_PROCESS = 2  # index of a word in `noted`
_WORDS = 3
_PDEATHSIG = 1
_SIGKILL = 9

_libc = ffi.open(None)
_exit = _libc.func("v", "_exit", "i")
_fork = _libc.func("i", "fork", "")
_waitpid = _libc.func("i", "waitpid", "ipi")
_prctl = _libc.func("i", "prctl", "ii")
_dup2 = _libc.func("i", "dup2", "ii")
_setitimer = _libc.func("i", "setitimer", "ipp")
_raise = _libc.func("i", "raise", "i")


class _Vfs:
    """`vfs` without times in the files' attributes: otherwise no two runs would be equal."""

    mount = staticmethod(vfs.mount)
    umount = staticmethod(vfs.umount)
    VfsFat = vfs.VfsFat

    @staticmethod
    def VfsLfs2(flash):
        return vfs.VfsLfs2(flash, mtime=False)


class _Gc:
    """`gc` without a threshold, whose collections take a third of each start."""

    collect = staticmethod(gc.collect)
    mem_alloc = staticmethod(gc.mem_alloc)
    mem_free = staticmethod(gc.mem_free)

    @staticmethod
    def threshold(_bytes):
        pass


class _Dog:
    """`machine.WDT` in the simulated time."""

    _limit_ms = 0

    def __init__(self, id=0, timeout=5000):
        _Dog._limit_ms = timeout
        self.feed()

    def feed(self):
        _Dog._fed = _clock.now

    @staticmethod
    def look():
        if _Dog._limit_ms and _clock.ticks_diff(_clock.now, _Dog._fed) > _Dog._limit_ms:
            _raise(_SIGALRM)  # like the simulator's own watchdog


class _Watch:
    """End the process when the cloud has its final report, or after waiting too long."""

    def __init__(self):
        self._spoke = 0
        self._said = False  # whether the board has communicated at all

    def spoken(self):
        self._said = True
        self._spoke = _clock.now

    def passed(self):
        _Dog.look()
        now = _clock.now
        ticks_diff = _clock.ticks_diff
        if _power_cloud.satisfied and self._said and ticks_diff(now, self._spoke) > _QUIET_MS:
            _exit(_SETTLED)
        if ticks_diff(now, _clock.begun) > _MOST_MS:
            _exit(_LATE)


def _record_fat(log, blocks):
    """Record the operations of a flash with FAT too, as if it followed the other flash."""
    import _sim_record

    class Recorder(_sim_record.Recorder):
        def _note(self, kind, block, offset, size):
            _sim_record.Recorder._note(self, kind, blocks + block, offset, size)

    def attach(path, state_path, count, number=0, kind=None):
        flash = own(path, state_path, count, number, Recorder if number else kind)
        if number:
            flash.record(log)
        return flash

    own = _sim_flash.attach
    _sim_flash.attach = attach


def _prepare():
    plan_path, content_path, noted_path = sys.argv[1:4]
    cloud = _power_cloud
    with open(plan_path) as file:
        cloud.plan = json.load(file)
    _power_net.late = cloud.plan.pop("late")
    cloud.again = cloud.plan.pop("again")
    cloud.index = cloud.plan.pop("index").encode()
    size = os.stat(content_path)[6]
    address = _sim_flash._map(content_path, size, _CONTENT_ADDRESS)
    cloud.content = memoryview(uctypes.bytearray_at(address, size))
    address = _sim_flash._map(noted_path, 4096, _NOTED_ADDRESS)
    cloud.noted = uctypes.struct(address, (uctypes.ARRAY | 0, _WORDS | uctypes.UINT32))
    cloud.note = lambda: None
    if not cloud.index:
        _power_net.servers[cloud.HOST, 1883] = cloud.Broker
    _power_net.servers[cloud.HOST, 80] = cloud.Server
    machine.WDT = _Dog
    sys.modules["socket"] = _power_net.Network
    sys.modules["select"] = _power_net.Select
    sys.modules["vfs"] = _Vfs
    sys.modules["gc"] = _Gc
    # Otherwise built-in modules would be looked up on the flash at each import.
    for name in _BUILT_IN:
        sys.modules[name] = __import__(name)


def _begin(satisfied, cause, recorded):
    """Start the board in the new process."""
    global _clock
    cloud = _power_cloud
    _prctl(_PDEATHSIG, _SIGKILL)
    _dup2(2, 1)
    # Limit the CPU time of a board that waits without reading the clock.
    _setitimer(2, array.array("l", (0, 0, _CPU_S, 0)), None)
    log = sys.argv[4] if recorded == "1" else ""
    place = sys.argv[5:]
    log_at = 5 if place[0] == "+" else 3
    place.insert(log_at, log)
    cloud.satisfied = satisfied == "1"
    if log:
        import _sim_record

        noted = cloud.noted

        def note():
            _sim_record.received = noted[0] << 20 | noted[1]

        note()
        cloud.note = note
        if log_at == 3 and len(place) > 4:
            _record_fat(log, int(place[2]))
    watch = _Watch()
    cloud.spoken = watch.spoken
    _clock = _power_net.clock = _power_clock.Clock(watch.passed)
    random.seed(1)
    sys.modules["time"] = _clock
    sys.argv[1:] = [cause, "020000000001"] + place


def _serve():
    """Serve until there are no more lines."""
    status = array.array("i", (0,))
    _prctl(_PDEATHSIG, _SIGKILL)
    while True:
        line = sys.stdin.readline().split()
        if not line:
            _exit(0)
        gc.collect()
        process = _fork()
        if not process:
            return _begin(*line)
        _power_cloud.noted[_PROCESS] = process
        _waitpid(process, status, 0)
        print(status[0])


_prepare()
_serve()
import _sim_run  # noqa: E402, F401
