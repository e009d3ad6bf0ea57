"""`make soak-download`: run hundreds of updates with seeded faults, on boards in parallel.

Each run resumes the last one: build/soak/ holds the results, including failures, until the
boards' code changes or `--afresh` deletes it. To repeat one update with its board's log:
`python -m ivota_workshop.bench.download.soak --only 17`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue

from rich.console import Console

from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.common import atomic_write
from ivota_tools.common.project_files import CHECKOUT

from ..figures import DOCUMENT, document
from .plan import Plan, Result, plan
from .rig import LIMIT_S, Rig

FOLDER = CHECKOUT / "build" / "soak"
UPDATES = 300
BOARDS = 4
MINUTES = 60.0


class Soak:
    """A run of `updates`; the results are kept in `folder`."""

    def __init__(self, folder: Path, seed: int, updates: int) -> None:
        self._path = folder / "progress.json"
        self._lock = threading.Lock()
        self.seed, self.updates = seed, updates
        self._code = code()
        self.results: dict[int, Result] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            kept = json.loads(self._path.read_text())
            if kept["run"] == self._run():
                found = (Result(**each) for each in kept["results"])
                self.results = {each.number: each for each in found}

    def _run(self) -> list[object]:
        """Return what must be unchanged for a run to resume, including the boards' code."""
        return [self.seed, self.updates, self._code]

    def left(self) -> list[int]:
        return [n for n in range(1, self.updates + 1) if n not in self.results]

    def add(self, result: Result) -> None:
        with self._lock:
            self.results[result.number] = result
            results = [asdict(each) for _, each in sorted(self.results.items())]
            kept = {"run": self._run(), "results": results}
            atomic_write.write(self._path, json.dumps(kept, indent=1))

    def run(self, console: Console, boards: int, minutes: float) -> None:
        numbers: SimpleQueue[int] = SimpleQueue()
        for number in self.left():
            numbers.put(number)
        until = time.monotonic() + minutes * 60 - LIMIT_S
        with surroundings() as (folder, broker):
            workers = [
                threading.Thread(
                    target=self._work,
                    args=(console, folder / f"soak{number}", broker, numbers, until),
                )
                for number in range(boards)
            ]
            for thread in workers:
                thread.start()
            for thread in workers:
                thread.join()

    def _work(
        self,
        console: Console,
        folder: Path,
        broker: Broker,
        numbers: SimpleQueue[int],
        until: float,
    ) -> None:
        while time.monotonic() < until:
            # Replace a board that failed with a new one.
            with contextlib.ExitStack() as stack:
                shutil.rmtree(folder, ignore_errors=True)
                rig = Rig(folder, broker, stack)
                while time.monotonic() < until:
                    try:
                        number = numbers.get_nowait()
                    except Empty:
                        return
                    result = attempt(rig, self.seed, plan(self.seed, number))
                    self.add(result)
                    show(console, result)
                    if result.ended != "done":
                        log = self._path.parent / f"update-{number}.log"
                        log.write_text("\n".join(rig.board.log[-400:]) + "\n")
                        break


def code() -> str:
    """Return a digest of the code that boards run."""
    paths = [CHECKOUT / "boot.py", CHECKOUT / "main.py", *sorted((CHECKOUT / "lib").rglob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def attempt(rig: Rig, seed: int, it: Plan) -> Result:
    """Run an update; any failure becomes its result."""
    try:
        return rig.update(seed, it)
    except Exception:
        return Result(it.number, traceback.format_exc(), it.size, it.kinds)


@contextlib.contextmanager
def surroundings() -> Iterator[tuple[Path, Broker]]:
    with (
        tempfile.TemporaryDirectory(prefix="ivota-soak-") as folder,
        Broker(Path(folder, "broker"), "127.0.0.1", 0, print) as broker,
    ):
        yield Path(folder), broker


def show(console: Console, result: Result) -> None:
    faults = " ".join(result.kinds) + " power" * result.power_cuts
    console.print(
        f"{result.number:4} {result.ended}  {result.size} bytes, {result.again} again, "
        f"{result.seconds:.0f} s  ({faults})",
        markup=False,
        highlight=False,
    )


def summary(seed: int, results: list[Result]) -> str:
    """Return the section of docs/benchmarks.md."""
    done = [each for each in results if each.ended == "done"]
    wrong = sum(each.ended == "wrong bytes" for each in results)
    faults = sum(len(each.kinds) for each in results)
    cuts = sum(each.power_cuts for each in results)
    lines = [
        f"{len(results)} updates (seed {seed}): {len(done)} `done`, {wrong} with wrong bytes. "
        f"{faults} faults of network and server, {cuts} power cuts; "
        f"{sum(each.size for each in done):,} bytes of firmware.",
        "",
        "| bytes sent again per update | updates | with 0 | median | 90 % | most | share of all |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, power in (("without a power cut", False), ("with one", True)):
        of = [each for each in done if bool(each.power_cuts) == power]
        again = sorted(each.again for each in of)
        if again:
            share = 100 * sum(again) / sum(each.size for each in of)
            lines.append(
                f"| {name} | {len(again)} | {sum(not each for each in again)} "
                f"| {again[len(again) // 2]:,} | {again[len(again) * 9 // 10]:,} "
                f"| {again[-1]:,} | {share:.2f} % |"
            )
    ignored = sum(each.ignored for each in done)
    lines += [
        "",
        f"Not included: {ignored:,} bytes from servers that ignored the range and sent the whole "
        "file.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ivota_workshop.bench.download.soak")
    parser.add_argument("--updates", type=int, default=UPDATES)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--boards", type=int, default=BOARDS)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="then stop, to be resumed")
    parser.add_argument("--only", type=int, help="this update, with its board's log")
    parser.add_argument("--afresh", action="store_true", help="forget what was done before")
    given = parser.parse_args()
    console = Console()
    if given.only is not None:
        with surroundings() as (folder, broker), contextlib.ExitStack() as stack:
            rig = Rig(folder / "soak", broker, stack)
            it = plan(given.seed, given.only)
            console.print(it)
            result = attempt(rig, given.seed, it)
            print(*rig.board.log, sep="\n")
            show(console, result)
        sys.exit(result.ended != "done")
    if given.afresh:
        shutil.rmtree(FOLDER, ignore_errors=True)
    soak = Soak(FOLDER, given.seed, given.updates)
    soak.run(console, given.boards, given.minutes)
    left = soak.left()
    if left:
        console.print(f"{len(left)} updates are left: the same command goes on with them")
        sys.exit(2)
    results = [each for _, each in sorted(soak.results.items())]
    text = summary(given.seed, results)
    console.print(text, markup=False, highlight=False)
    if given.updates == UPDATES:
        document(DOCUMENT, "soak", text)
    sys.exit(any(each.ended != "done" for each in results))


if __name__ == "__main__":
    main()
