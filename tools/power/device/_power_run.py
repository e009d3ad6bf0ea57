"""Starts a board as `_sim_run` does, with its network in this process and waits that are none."""

# Arguments: file with the plan, file with the firmware, file that `noted` is kept in, whether the
# cloud has its final report, whether to note things with each operation of the flash; the rest is
# `_sim_run`'s.

import array
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
_QUIET_MS = 200  # after which nothing more is to come
_MOST_MS = 400000  # for an update, from a start
_CPU_S = 40
_SIGALRM = 14
_SETTLED = 99
_LATE = 98

_exit = ffi.open(None).func("v", "_exit", "i")


class _Vfs:
    """`vfs`, but for the time of day in the files' attributes: no two runs would be equal."""

    mount = staticmethod(vfs.mount)
    umount = staticmethod(vfs.umount)
    VfsFat = vfs.VfsFat

    @staticmethod
    def VfsLfs2(flash):
        return vfs.VfsLfs2(flash, mtime=False)


class _Dog:
    """`machine.WDT` in the time that passes here."""

    _limit_ms = 0

    def __init__(self, id=0, timeout=5000):
        _Dog._limit_ms = timeout
        self.feed()

    def feed(self):
        _Dog._fed = _clock.now

    @staticmethod
    def look():
        if _Dog._limit_ms and _clock.ticks_diff(_clock.now, _Dog._fed) > _Dog._limit_ms:
            ffi.open(None).func("i", "raise", "i")(_SIGALRM)  # as the simulator's own bites


class _Watch:
    """Ends the process when the cloud has what it waits for, or waits too long."""

    def __init__(self):
        self._spoke = 0
        self._said = False  # whether the board has spoken at all

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
    """Have what a flash with FAT does written down too, as if it lay behind the other one."""
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
    global _clock
    plan_path, content_path, noted_path, satisfied, recorded = sys.argv[1:6]
    del sys.argv[1:6]
    libc = ffi.open(None)
    # A board that waits without looking at the clock.
    libc.func("i", "setitimer", "ipp")(2, array.array("l", (0, 0, _CPU_S, 0)), None)
    cloud = _power_cloud
    with open(plan_path) as file:
        cloud.plan = json.load(file)
    _power_net.late = cloud.plan.pop("late")
    cloud.again = cloud.plan.pop("again")
    size = os.stat(content_path)[6]
    address = _sim_flash._map(content_path, size, _CONTENT_ADDRESS)
    cloud.content = memoryview(uctypes.bytearray_at(address, size))
    address = _sim_flash._map(noted_path, 4096, _NOTED_ADDRESS)
    cloud.noted = uctypes.struct(address, (uctypes.ARRAY | 0, 2 | uctypes.UINT32))
    cloud.satisfied = satisfied == "1"
    cloud.note = lambda: None
    if recorded == "1":
        import _sim_record

        noted = cloud.noted

        def note():
            _sim_record.received = noted[0] << 20 | noted[1]

        note()
        cloud.note = note
        if len(sys.argv) > 7 and sys.argv[3] != "+":  # that is an ESP32's
            _record_fat(sys.argv[6], int(sys.argv[5]))
    watch = _Watch()
    cloud.spoken = watch.spoken
    _clock = _power_net.clock = _power_clock.Clock(watch.passed)
    _power_net.servers[cloud.HOST, 1883] = cloud.Broker
    _power_net.servers[cloud.HOST, 80] = cloud.Server
    random.seed(1)
    machine.WDT = _Dog
    sys.modules["time"] = _clock
    sys.modules["socket"] = _power_net.Network
    sys.modules["select"] = _power_net.Select
    sys.modules["vfs"] = _Vfs


_prepare()
import _sim_run  # noqa: E402, F401
