"""Run boards one after another, each in a separate process, on a given flash."""

from __future__ import annotations

import hashlib
import json
import mmap
import re
import signal
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ivota_tools.sim import Death, Fault, Flash
from ivota_tools.sim.board import HARD_RESET, PWRON_RESET, SOFT_RESET, WDT_RESET
from ivota_tools.sim.filesystem import BLOCK

from .forkserver import serve
from .scenario import FACTORY, NEW
from .stage import Stage

HANG_S = 60
LATE = "not finished in time"
STARTS = 40  # starts after one power-on, after which the run counts as endless
_SETTLED, _LATE = 99, 98  # exit codes of device/_power_run.py
_RESETS = {80 + HARD_RESET: HARD_RESET, 80 + SOFT_RESET: SOFT_RESET, -signal.SIGALRM: WDT_RESET}
_NOTED_ADDRESS, _CONTENT_ADDRESS = 0x1FD00000, 0x1D000000  # as device/_power_run.py maps them
_NOTED = struct.Struct("<2I")


@dataclass(frozen=True)
class Said:
    """A report that the cloud has received, and the version that ran at that time."""

    running: str
    report: dict[str, Any]


@dataclass
class Run:
    """The events from one power-on to its end.

    `ended`: "settled" if the cloud had its final report and the board was at rest; "died" if the
    armed fault ended it; otherwise the problem. `events`: versions that started, as texts, and
    reports. `have`: how much of the firmware had been received in the end; `again`: how many bytes
    were requested although they had been received before. `wrong`: what is wrong with the final
    flash and the running version, if the run was examined.
    """

    ended: str = ""
    brick: bool = False
    events: list[str | Said] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    have: int = 0
    again: int = 0
    death: Death | None = None
    starts: int = 0
    wrong: list[Any] = field(default_factory=list)


# The place of a start after a reset: flash, cause, and what the cloud knows and has sent.
_State = tuple[bytes, int, bool, int]
_Place = tuple[int, int, int, int]  # in a Run: starts, events, lines, again
_TAILS = 20_000


def _go_on(run: Run, tail: Run) -> None:
    run.ended, run.brick, run.have, run.wrong = tail.ended, tail.brick, tail.have, tail.wrong
    run.events += tail.events
    run.lines += tail.lines
    run.again += tail.again
    run.starts += tail.starts


def _keep(tails: dict[_State, Run], resets: list[tuple[_State, _Place]], run: Run) -> None:
    """Remember the result that followed each of these resets in a completed run."""
    if run.ended != "settled":
        return
    if len(tails) > _TAILS:
        tails.clear()
    for state, (starts, events, lines, again) in resets:
        tails[state] = replace(
            run,
            events=run.events[events:],
            lines=run.lines[lines:],
            again=run.again - again,
            starts=run.starts - starts,
        )


class Bench:
    """Run boards of one stage in `folder`, which should be in memory."""

    def __init__(self, folder: Path, stage: Stage) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.stage = stage
        self.flash = Flash(folder / "flash.img", stage.blocks, stage.scenario.slots)
        self.fat = Flash(folder / "fat.img", stage.scenario.fat) if stage.scenario.fat else None
        self.log = folder / "flash.log"
        self._noted = folder / "noted"
        plan, firmware = folder / "plan", folder / "firmware"
        plan.write_text(
            json.dumps({**stage.plan, "late": stage.scenario.late, "again": stage.scenario.again})
        )
        firmware.write_bytes(stage.firmware)
        self._noted.write_bytes(bytes(4096))
        self._output = (folder / "output").open("a+b", buffering=0)
        self.hang_s = HANG_S
        self._tails: dict[_State, Run] = {}
        self._maps: list[mmap.mmap] = []
        for flash in (self.flash, self.fat):
            if flash:
                flash.blank()
                with flash.path.open("r+b") as file:
                    self._maps.append(mmap.mmap(file.fileno(), 0))
        place = [*self.flash.arguments()]
        if self.fat:
            place += [*self.fat.arguments(), str(BLOCK)]
        arguments = [str(plan), str(firmware), str(self._noted), str(self.log), *place]
        maps = {_CONTENT_ADDRESS: firmware, _NOTED_ADDRESS: self._noted}
        for number, flash in enumerate([self.flash, *([self.fat] if self.fat else [])]):
            maps.update(flash.addresses(number))
        self._server = serve(arguments, self._output, self._noted, maps)
        self.load(stage.image)

    def close(self) -> None:
        """End the processes that are ready for boards."""
        self._server.close()
        self._output.close()
        for each in self._maps:
            each.close()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load(self, image: bytes | bytearray) -> None:
        """Load a flash image; set the counters to 0 and arm nothing."""
        at = 0
        for flash, data in zip((self.flash, self.fat), self._maps, strict=False):
            assert flash
            data[:] = image[at : at + len(data)]
            at += len(data)
            flash.reset_state()

    def image(self) -> bytes:
        """Return the whole image; a flash with FAT follows."""
        return b"".join(data[:] for data in self._maps)

    def run(
        self,
        satisfied: bool,
        have: int = 0,
        fault: Fault | None = None,
        record: bool = False,
        examine: Callable[[Run, bytes], list[Any]] | None = None,
    ) -> Run:
        """Run from a power-on to the end. `satisfied`: the cloud already has its final report.

        `have`: bytes received before. `fault`: the flash's fault. `record`: record its operations.
        `examine` returns what is wrong at the end. If it is given, a run that reaches a reset from
        which an earlier one continued, with the same flash and the same cloud, ends there with the
        earlier result: nothing else outlives a reset.
        """
        if fault:
            self.flash.arm(fault)
        if record:
            self.log.write_bytes(b"")
        found = Run(have=have)
        self._set_noted(0, have)
        resets: list[tuple[_State, _Place]] = []
        cause = PWRON_RESET
        while cause:
            if found.starts == STARTS:
                found.ended = f"{STARTS} starts and no end"
                break
            if examine and found.starts:
                state = self._state(cause, satisfied)
                if state in self._tails:
                    tail = self._tails[state]
                    _go_on(found, tail)
                    _keep(self._tails, resets, found)
                    return found
                place = found.starts, len(found.events), len(found.lines), found.again
                resets.append((state, place))
            found.starts += 1
            code, lines = self._start(cause, satisfied, record)
            found.lines += [f"-- start {found.starts}, cause {cause}", *lines]
            found.lines.append(f"-- ended with {code}")
            satisfied = self._take(found, lines, satisfied)
            cause = _RESETS.get(code, 0)
            if not cause:
                self._end(found, code, lines)
        found.have = self._get_noted()[1]
        if examine:
            found.wrong = examine(found, self.image())
            _keep(self._tails, resets, found)
        return found

    def _state(self, cause: int, satisfied: bool) -> _State:
        digest = hashlib.sha256()
        for data in self._maps:
            digest.update(data)
        return digest.digest(), cause, satisfied, self._get_noted()[1]

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
            found.ended = LATE
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

    def _start(self, cause: int, satisfied: bool, record: bool) -> tuple[int, list[str]]:
        """Start a board in a new process; return its exit code and its output."""
        self._output.truncate(0)
        code = self._server.start(cause, satisfied, record, self.hang_s)
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").splitlines()
        # The process that it is forked from does not always have the same heap in use.
        return code, [line for line in lines if not line.startswith("sim: heap")]

    def _set_noted(self, *values: int) -> None:
        with self._noted.open("r+b") as file:
            file.write(_NOTED.pack(*values))

    def _get_noted(self) -> tuple[int, int]:
        with self._noted.open("rb") as file:
            heard, have = _NOTED.unpack(file.read(_NOTED.size))
        return heard, have


def is_final(report: dict[str, Any], again: str) -> bool:
    """Return whether the cloud pushes no more after that report; `again` is a scenario's."""
    if report["type"] != "report_progress" or report["report"]["version"] != NEW:
        return False
    progress = report["report"]["progress"]
    if again and again in progress["result_msg"]:
        return False
    return progress["state"] in ("done", "fail")
