"""Become MicroPython: `python -I -S preview_launcher.py EXTENSION [MicroPython's arguments]`.

This does what a simulated board's interpreter cannot do without `ffi` (sim/device/ffi.py): it maps
files into memory, lets the board exit at once, and runs a watchdog process. `IVOTA_SIM_MEMORY`
lists the mapped files: a line with the path of the control file, and a line with an address and a
path for each other file.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import signal
import struct
import sys
import time

# Addresses of a 32-bit board, moved to a range that 64-bit programs do not use.
BASE = 1 << 44
CONTROL = 0x1FE00000
LIMIT_MS, FEEDS = 1, 2  # words of the control file; word 0 is the process's exit code
LOOK_S = 0.01

_PDEATHSIG, _SEGV, _KILL = 1, 11, 9
_READ_WRITE, _SHARED_FIXED_NOREPLACE = 3, 0x100001


def prepare(said: str) -> None:
    """Map the files and start the watchdog. Raises OSError."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        *(ctypes.c_int,) * 3,
        ctypes.c_long,
    ]
    control, *rest = said.splitlines()
    for line in (f"{CONTROL:x} {control}", *rest):
        address, _, path = line.partition(" ")
        with open(path, "r+b") as file:
            size = os.fstat(file.fileno()).st_size
            wanted = BASE + int(address, 16)
            where = libc.mmap(wanted, size, _READ_WRITE, _SHARED_FIXED_NOREPLACE, file.fileno(), 0)
        if where != wanted:
            raise OSError(ctypes.get_errno(), f"cannot map {path} at {wanted:#x}")
    parent = os.getpid()
    libc.prctl(_PDEATHSIG, _KILL)  # the board ends with the host process
    if not os.fork():
        libc.prctl(_PDEATHSIG, _KILL)
        watch(parent, control)
    # A write to address 0 ends all threads immediately, without further output.
    libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    libc.signal(_SEGV, ctypes.cast(libc._exit, ctypes.c_void_p))
    os.environ["IVOTA_SIM_MAPPED"] = "1"


def watch(process: int, control: str) -> None:
    """Run the watchdog, which sends SIGALRM like the timer of other boards."""
    page = os.open(control, os.O_RDONLY)
    for number in (0, 1, 2):
        os.close(number)
    fed, since = 0, 0.0
    while os.getppid() == process:
        _, limit_ms, feeds = struct.unpack("<3I", os.pread(page, 12, 0))
        now = time.monotonic()
        if feeds != fed:
            fed, since = feeds, now
        elif limit_ms and now - since > limit_ms / 1000:
            os.kill(process, signal.SIGALRM)
        time.sleep(LOOK_S)
    os._exit(0)


def main() -> int:
    said = os.environ.get("IVOTA_SIM_MEMORY")
    if said:
        prepare(said)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    name = "micropython_run"
    loader = importlib.machinery.ExtensionFileLoader(name, sys.argv[1])
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    ended: int = module.run_main(["micropython", *sys.argv[2:]])
    return ended


if __name__ == "__main__":
    sys.exit(main())
