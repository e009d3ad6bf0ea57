"""A place where one board after another runs, each as a process of its own, on a given flash."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..mpy import compiled_folder
from ..sim import Death, Fault, Flash
from ..sim.board import DEVICE as SIM_DEVICE
from ..sim.board import HARD_RESET, PWRON_RESET, SOFT_RESET, WDT_RESET
from ..sim.flash import BLOCK
from ..toolchain import micropython
from .scenario import DEVICE, FACTORY, NEW, Stage

BITS = 32
HEAP = "112k"  # what an ESP32 has once it has grown
HANG_S = 60
STARTS = 40  # of one power-on, then it is said never to end
_SETTLED, _LATE = 99, 98  # exit codes of device/_power_run.py
_RESETS = {80 + HARD_RESET: HARD_RESET, 80 + SOFT_RESET: SOFT_RESET, -signal.SIGALRM: WDT_RESET}
_NOTED = struct.Struct("<2I")


@dataclass(frozen=True)
class Said:
    """A report that the cloud has heard, and the version that ran then."""

    running: str
    report: dict[str, Any]


@dataclass
class Run:
    """What happened from one power-on to its end.

    `ended`: "settled", the cloud had its final report and the board was at rest; "died", in the
    armed fault; else what was wrong with it. `events`: versions that started, as texts, and
    what was said. `have`: how far the firmware had been received in the end; `again`: how many
    bytes were asked for although they had been received before.
    """

    ended: str = ""
    brick: bool = False
    events: list[str | Said] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    have: int = 0
    again: int = 0
    death: Death | None = None
    starts: int = 0
    cpu_s: float = 0.0


class Bench:
    """Runs boards of one stage in `folder`, which should be in memory."""

    def __init__(self, folder: Path, stage: Stage) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.stage = stage
        self.flash = Flash(folder / "flash.img", stage.blocks, stage.scenario.slots)
        self.fat = Flash(folder / "fat.img", stage.scenario.fat) if stage.scenario.fat else None
        self.log = folder / "flash.log"
        self._noted = folder / "noted"
        self._plan = folder / "plan"
        self._firmware = folder / "firmware"
        self._output = folder / "output"
        self._plan.write_text(
            json.dumps({**stage.plan, "late": stage.scenario.late, "again": stage.scenario.again})
        )
        self._firmware.write_bytes(stage.firmware)
        self._noted.write_bytes(bytes(4096))
        self.hang_s = HANG_S
        self.load(stage.image)

    def load(self, image: bytes | bytearray) -> None:
        """Puts this on the flash; counters at 0, nothing armed."""
        size = self.flash.size
        for flash, data in ((self.flash, image[:size]), (self.fat, image[size:])):
            if flash:
                flash.path.write_bytes(data)
                flash.reset_state()

    def image(self) -> bytes:
        """All of it; a flash with FAT follows."""
        return self.flash.path.read_bytes() + (self.fat.path.read_bytes() if self.fat else b"")

    def run(
        self, satisfied: bool, have: int = 0, fault: Fault | None = None, record: bool = False
    ) -> Run:
        """From a power-on to the end. `satisfied`: the cloud has its final report already.

        `have`: bytes received before. `fault`: what the flash does. `record`: keep what it does.
        """
        if fault:
            self.flash.arm(fault)
        if record:
            self.log.write_bytes(b"")
        found = Run(have=have)
        self._set_noted(0, have)
        cause = PWRON_RESET
        while cause:
            if found.starts == STARTS:
                found.ended = f"{STARTS} starts and no end"
                break
            found.starts += 1
            code, lines, cpu_s = self._start(cause, satisfied, record)
            found.cpu_s += cpu_s
            found.lines += [f"-- start {found.starts}, cause {cause}", *lines]
            found.lines.append(f"-- ended with {code}")
            satisfied = self._take(found, lines, satisfied)
            cause = _RESETS.get(code, 0)
            if not cause:
                self._end(found, code, lines)
        found.have = self._get_noted()[1]
        return found

    def _end(self, found: Run, code: int, lines: list[str]) -> None:
        violation = self.flash.violation()
        found.death = None if violation else self.flash.settle()
        if violation:
            found.ended, found.brick = violation, True
        elif found.death:
            found.ended = "died"
        elif "REPL" in lines:
            found.ended, found.brick = "nothing runs that could be updated", True
        elif code == _SETTLED:
            found.ended = "settled"
        elif code == _LATE:
            found.ended = "not finished in time"
        else:
            found.ended, found.brick = f"the interpreter ended with {code}", True
        self.flash.disarm()

    def _take(self, found: Run, lines: list[str], satisfied: bool) -> bool:
        scenario = self.stage.scenario
        running = FACTORY
        for line in lines:
            word, _, rest = line.partition(": ")
            if word == "app":
                if re.fullmatch(r"[\d.]+", rest):
                    running = rest
                    found.events.append(rest)
            elif word == "cloud":
                report = json.loads(rest)
                found.events.append(Said(running, report))
                satisfied = satisfied or is_final(report, scenario.again)
            elif word == "has":
                found.events.append(rest)
            elif word == "server":
                first, have = map(int, rest.split())
                found.again += max(have - first, 0)
        return satisfied

    def _start(self, cause: int, satisfied: bool, record: bool) -> tuple[int, list[str], float]:
        path = f"{compiled_folder(DEVICE)}:{DEVICE / 'source'}:{compiled_folder(SIM_DEVICE)}"
        place = [*self.flash.arguments(), str(self.log) if record else ""]
        if self.fat:
            place += [*self.fat.arguments(), str(BLOCK)]
        argv = [
            *micropython(BITS),
            *("-X", f"heapsize={HEAP}", "-c", "import _power_run"),
            *(str(self._plan), str(self._firmware), str(self._noted)),
            *("1" if satisfied else "0", "1" if record else "0", str(cause), "board"),
            *place,
        ]
        with self._output.open("w+b") as output:
            process = subprocess.Popen(
                argv,
                env={"MICROPYPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                close_fds=False,  # with it, and without a new session, it starts by vfork
            )
            # Whatever it does, it takes some processor time, but for a boot loader that gives up.
            watch = threading.Timer(self.hang_s, process.kill)
            watch.start()
            _, status, usage = os.wait4(process.pid, 0)
            watch.cancel()
            code = process.returncode = os.waitstatus_to_exitcode(status)
            output.seek(0)
            lines = output.read().decode(errors="replace").splitlines()
        return code, lines, usage.ru_utime + usage.ru_stime

    def _set_noted(self, *values: int) -> None:
        with self._noted.open("r+b") as file:
            file.write(_NOTED.pack(*values))

    def _get_noted(self) -> tuple[int, int]:
        with self._noted.open("rb") as file:
            heard, have = _NOTED.unpack(file.read(_NOTED.size))
        return heard, have


def is_final(report: dict[str, Any], again: str) -> bool:
    """Whether the cloud pushes no more after that report; `again` as a scenario has it."""
    if report["type"] != "report_progress" or report["report"]["version"] != NEW:
        return False
    progress = report["report"]["progress"]
    if again and again in progress["result_msg"]:
        return False
    return progress["state"] in ("done", "fail")
