"""An interpreter that is ready for use: every start of a board is a fork of it.

No board code has run in it, no file system is mounted and no flash is mapped: it only saves
loading MicroPython and the simulator's own modules. MicroPython's preview cannot fork, so each
start there is a new process.
"""

from __future__ import annotations

import os
import select
import signal
import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from ivota_tools.firmware.mpy_compiler import compiled_folder
from ivota_tools.sim.board import DEVICE as SIM_DEVICE
from ivota_tools.sim.filesystem import BLOCK
from ivota_tools.toolchain import boards_micropython, preview

from .stage import DEVICE

HEAP_KIB = 112  # the heap of an ESP32 after it has grown


def serve(
    arguments: Sequence[str], output: IO[bytes], noted: Path, maps: Mapping[int, Path]
) -> ForkServer | Starter:
    """Return an object that starts boards on their interpreter.

    `arguments` are those of device/_power_run.py; the boards' output goes to `output`. `maps`:
    addresses of files in memory, for an interpreter that cannot map them itself.
    """
    interpreter = boards_micropython()
    launched = preview.is_launched(interpreter)
    heap = HEAP_KIB * (2 if launched else 1)  # 64-bit objects
    path = f"{compiled_folder(DEVICE)}:{DEVICE / 'source'}:{compiled_folder(SIM_DEVICE)}"
    command = [*interpreter, "-X", f"heapsize={heap}k", "-c", "import _power_run", *arguments]
    if launched:
        return Starter(command, path, output, noted.with_name("control"), maps)
    return ForkServer(command, path, output, noted)


class Starter:
    """Start each board in a new process."""

    def __init__(
        self,
        command: Sequence[str],
        path: str,
        output: IO[bytes],
        control: Path,
        maps: Mapping[int, Path],
    ) -> None:
        self._command, self._output, self._control = command, output, control.resolve()
        self._environment = {"MICROPYPATH": path, **preview.environment(self._control, maps)}

    def start(self, cause: int, satisfied: bool, record: bool, hang_s: float) -> int:
        """Start a board as ForkServer.start() does."""
        self._control.write_bytes(bytes(BLOCK))
        done = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=self._output,
        )
        try:
            done.communicate(f"{int(satisfied)} {cause} {int(record)}\n".encode(), hang_s)
        except subprocess.TimeoutExpired:
            done.kill()
            done.wait()
        return preview.ended(done.returncode, self._control)

    def close(self) -> None:
        """Do nothing: no process is left running."""


class ForkServer:
    """An interpreter that forks."""

    def __init__(self, command: Sequence[str], path: str, output: IO[bytes], noted: Path) -> None:
        self._noted = noted
        self._process = subprocess.Popen(
            command,
            env={"MICROPYPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            bufsize=0,
        )

    def start(self, cause: int, satisfied: bool, record: bool, hang_s: float) -> int:
        """Start a board and wait for its end: return the exit code, or a signal's number, negated.

        A board that takes longer than `hang_s` is killed. Raises RuntimeError if the server is
        gone.
        """
        process = self._process
        assert process.stdin and process.stdout
        process.stdin.write(f"{int(satisfied)} {cause} {int(record)}\n".encode())
        # A running board uses some CPU time; a boot loader that has given up uses none.
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
        """End the interpreter."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
