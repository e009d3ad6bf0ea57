"""An interpreter that stands ready: every start of a board is a fork of it.

Nothing of a board has run in it, no file system is mounted in it and no flash is mapped: what it
saves is the loading of MicroPython and of the simulator's own modules.
"""

from __future__ import annotations

import os
import select
import signal
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from ivota_tools.firmware.mpy_compiler import compiled_folder
from ivota_tools.sim.board import DEVICE as SIM_DEVICE
from ivota_tools.toolchain import micropython

from .stage import DEVICE

BITS = 32
HEAP = "112k"  # what an ESP32 has once it has grown


class ForkServer:
    """`arguments` are those of device/_power_run.py; what boards say goes to `output`."""

    def __init__(self, arguments: Sequence[str], output: IO[bytes], noted: Path) -> None:
        path = f"{compiled_folder(DEVICE)}:{DEVICE / 'source'}:{compiled_folder(SIM_DEVICE)}"
        self._noted = noted
        self._process = subprocess.Popen(
            [*micropython(BITS), "-X", f"heapsize={HEAP}", "-c", "import _power_run", *arguments],
            env={"MICROPYPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            bufsize=0,
        )

    def start(self, cause: int, satisfied: bool, record: bool, hang_s: float) -> int:
        """Starts a board and waits for its end: the exit code, or a signal's number below zero.

        One that takes longer than `hang_s` is killed. Raises RuntimeError when the server is gone.
        """
        process = self._process
        assert process.stdin and process.stdout
        process.stdin.write(f"{int(satisfied)} {cause} {int(record)}\n".encode())
        # Whatever it does, it takes some processor time, but for a boot loader that gives up.
        if not select.select([process.stdout], [], [], hang_s)[0]:
            os.kill(self._child(), signal.SIGKILL)
        answer = process.stdout.readline()
        if not answer.strip():
            raise RuntimeError("the interpreter that boards are forked from has ended")
        return os.waitstatus_to_exitcode(int(answer))

    def _child(self) -> int:
        with self._noted.open("rb") as file:
            file.seek(8)
            return int(struct.unpack("<I", file.read(4))[0])

    def close(self) -> None:
        """Ends it."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
