"""`make soak-power`: at least 100,000 states; resumes the last run.

The results are kept in build/soak-power/ until the code changes or `--afresh` deletes them. A
round tries everything that `make power` samples; each further round tears operations with other
random bits.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from ivota_tools.common import atomic_write
from ivota_tools.common.project_files import CHECKOUT

from ..bench import figures as bench
from . import figures
from .__main__ import show_wrong
from .campaign import PROCESSES, Campaign, code, workplace
from .plan import SOAK, tasks
from .tally import Tally
from .work import Task

AREA = "power-soak"
COMMAND = "make soak-power"
FOLDER = CHECKOUT / "build" / "soak-power"
STATES = 100_000
MINUTES = 55.0
_SAVE_S = 30


class Soak:
    """The results so far, kept in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "progress.json"
        self._digests = folder / "states"
        self.code = code()
        self.tally = Tally()
        self.done: set[int] = set()  # numbers of tasks
        self.states: list[bytes] = []
        self.failed: list[str] = []  # cases
        folder.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            kept = json.loads(self._path.read_text())
            if kept["code"] == self.code:
                self._load(kept)

    def _load(self, kept: dict[str, object]) -> None:
        self.done = set(kept["done"])  # type: ignore[call-overload]
        self.failed = list(kept["failed"])  # type: ignore[call-overload]
        tally = dict(kept["tally"])  # type: ignore[call-overload]
        cells = {tuple(cell): count for cell, count in tally.pop("cells")}
        faults = collections.Counter(tally.pop("faults"))
        self.tally = Tally(cells=collections.Counter(cells), faults=faults, **tally)
        data = self._digests.read_bytes()[: 8 * int(kept["states"])]  # type: ignore[call-overload]
        self.states = [data[n : n + 8] for n in range(0, len(data), 8)]

    def save(self) -> None:
        """Save the results. Raises RuntimeError if they belong to different code."""
        if code() != self.code:
            raise RuntimeError("the code has changed: this soak is over")
        # Save digests first: those that the other file does not count are ignored.
        atomic_write.write(self._digests, b"".join(self.states))
        tally = {**vars(self.tally), "cells": [[*each] for each in self.tally.cells.items()]}
        kept = {
            "code": self.code,
            "done": sorted(self.done),
            "failed": self.failed,
            "states": len(self.states),
            "tally": tally,
        }
        atomic_write.write(self._path, json.dumps(kept))

    def run(self, console: Console, states: int, minutes: float, processes: int) -> None:
        started = saved = time.monotonic()
        with workplace() as folder:
            campaign = Campaign(folder)
            for state in self.states:
                campaign.seen.add(state)
            todo = self._todo(campaign, states, started + minutes * 60)
            for number, results in campaign.run(todo, processes):
                self.done.add(number)
                for result in results:
                    self.tally.add(result)
                    show_wrong(result, console)
                    if result.digest:
                        self.states.append(result.digest)
                    if result.faults:
                        self.failed.append(result.case)
                now = time.monotonic()
                if now - saved > _SAVE_S:
                    saved = now
                    self.save()
                    tally = self.tally
                    console.print(
                        f"{now - started:5.0f} s  {tally.states:,} states, {tally.randoms:,} "
                        f"random runs, {tally.wrong_cases} cases are wrong"
                    )
        self.save()

    def _todo(self, campaign: Campaign, states: int, until: float) -> Iterator[tuple[int, Task]]:
        first = 0
        for seed in range(100):
            found = tasks(campaign.played, SOAK, seed)
            for number, task in enumerate(found, first):
                if time.monotonic() > until or (seed and self.tally.states >= states):
                    return
                if number not in self.done:
                    yield number, task
            first += len(found)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ivota_workshop.power.soak")
    parser.add_argument("--states", type=int, default=STATES)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="then stop, to be resumed")
    parser.add_argument("--processes", type=int, default=PROCESSES, help="at once")
    parser.add_argument("--afresh", action="store_true", help="forget what was done before")
    given = parser.parse_args()
    console = Console(highlight=False)
    if given.afresh:
        shutil.rmtree(FOLDER, ignore_errors=True)
    soak = Soak(FOLDER)
    soak.run(console, given.states, given.minutes, given.processes)
    figures.show(soak.tally, console)
    found = figures.of(soak.tally, given.states)
    met = bench.show(found, console)
    today = datetime.date.today().isoformat()
    path = figures.write(AREA, COMMAND, found, soak.tally, {"date": today, "code": soak.code[:16]})
    console.print(f"written to {path}")
    text = f"On {today}, of the code {soak.code[:16]}:\n\n{figures.markdown(found, soak.tally)}"
    bench.document(figures.DOCUMENT, AREA, text)
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
