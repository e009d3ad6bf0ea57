"""Traps of `umqtt.simple` and `requests`: each shown with the bare library, and with ours."""

from __future__ import annotations

import functools
import hashlib
import json
import subprocess
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ivota_tools.toolchain import boards_micropython
from ivota_tools.toolchain.archives import UMQTT
from ivota_tools.toolchain.program_launch import probe

from ..device_run import start
from .cases import CASES, FAULT, HANG, Case
from .server import FIRMWARE, Server, good_broker, good_files

__all__ = [
    "CASES",
    "FAULT",
    "HANG",
    "Case",
    "cured",
    "good_broker",
    "good_files",
    "library_version",
    "run",
    "run_bare",
    "run_ours",
]

DEVICE = Path(__file__).parent / "device"
HANG_S = 1.5  # once connected, a process that runs longer hangs; a wait takes a third at most
BOUND_S = 60.0  # a process that ends does so within this time, even on a busy machine
STEP_MS = 900  # ours waits at most 500 ms in a step, and does a little work
BLOCKED_S = 1.2


@dataclass(frozen=True)
class Bare:
    """How the bare library ended: `outcome` is HANG, FAULT, "lost" (an OSError) or "right"."""

    outcome: str
    detail: str


@dataclass(frozen=True)
class Ours:
    """How ours ended: whether all was `well` in the end, its lost connections, its times.

    The times exclude what a step waited for a core. `sockets_left` counts the sockets left open.
    """

    well: bool
    lost: list[str]
    step_ms_max: int
    ms: int
    sockets_left: int
    errors: list[str]


def library_version(case: Case) -> str:
    """Return the version of the case's library that `run_bare` runs."""
    if case.library == "umqtt":
        return UMQTT.rpartition("=")[2]
    return _requests_version(tuple(boards_micropython()))


@functools.cache
def _requests_version(interpreter: tuple[str, ...]) -> str:
    asked = [*interpreter, "-c", "import requests; print(requests.__version__)"]
    return subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def _start(case: Case, name: str, *args: str) -> subprocess.Popen[str]:
    """Start device/`name` on the interpreter of simulated boards, in the case's heap."""
    interpreter = boards_micropython()
    probed = probe(tuple(interpreter))
    heap = case.heap
    if heap and probed and probed[0] == 64:  # objects are twice as large
        heap = f"{2 * int(heap.removesuffix('k'))}k"
    return start(DEVICE / name, *args, heap=heap, interpreter=interpreter)


def run_bare(case: Case, server: Server) -> Bare:
    """Run the bare library against a server, with a time limit."""
    process = _start(case, "bare.py", case.bare, str(server.port))
    bound_s = BOUND_S
    if case.kind == HANG and case.falls(library_version(case)):
        bound_s = HANG_S
        while not (case.blocked or server.connections) and process.poll() is None:
            time.sleep(0.02)
    try:
        output, _ = process.communicate(timeout=bound_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Bare(HANG, f"still running after {bound_s:g} s")
    last = (output.strip().splitlines() or [""])[-1]
    if server.errors:
        return Bare(FAULT, f"the server says: {server.errors[0]}")
    if process.returncode == 0:
        return Bare("right" if last == "right" else FAULT, last)
    # umqtt raises OSError(-1) at the end of file, which is only a lost link.
    return Bare("lost" if last.startswith("OSError") else FAULT, last)


def run_ours(
    case: Case, server: Server, options: Mapping[str, str] = MappingProxyType({})
) -> Ours:
    """Run ours against a server, until all is well; `options` are added for device/ours.py."""
    kind = case.ours or ("download" if case.library == "requests" else "link")
    with tempfile.TemporaryDirectory() as folder:
        words = {
            "md5": hashlib.md5(FIRMWARE).hexdigest(),
            "folder": folder,
            "loses": str(int(case.loses)),
            **case.options,
            **options,
        }
        args = [f"{name}={value}" for name, value in words.items()]
        process = _start(case, "ours.py", kind, str(server.port), *args)
        try:
            output, _ = process.communicate(timeout=2 * BOUND_S)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
    last = (output.splitlines() or [""])[-1]
    if not last.startswith("{"):
        return Ours(False, [], 0, 0, 0, [output])
    return Ours(**json.loads(last), errors=server.errors)


def run(case: Case) -> tuple[Bare, Ours]:
    """Run both in parallel, each against a separate server."""
    good = good_files if case.library == "requests" else good_broker
    bad = int(case.options.get("bad", "1"))
    with (
        Server(case.serve, good, 1 << 30, blocked_s=60 if case.blocked else 0) as theirs,
        Server(case.serve, good, bad, blocked_s=BLOCKED_S if case.blocked else 0) as mine,
        ThreadPoolExecutor(1) as pool,
    ):
        bare = pool.submit(run_bare, case, theirs)
        ours = run_ours(case, mine)
        return bare.result(), ours


def cured(case: Case, ours: Ours) -> bool:
    """Return whether ours noticed what it must, in bounded steps, and recovered."""
    noticed = bool(ours.lost) == case.loses and not ours.errors
    return ours.well and noticed and ours.step_ms_max < STEP_MS and not ours.sockets_left
