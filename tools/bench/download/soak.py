"""`make soak-download`: hundreds of updates, each with seeded faults, on boards beside each other.

It goes on where it was interrupted: what was done is in build/soak/, failures too, until the
boards' code changes or `--afresh` forgets it. One update of a run again, with its board's log:
`python -m ivota_tools.bench.download.soak --only 17`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from rich.console import Console

from ...cloud.broker import Broker
from ...release import pack
from ...sim import Board, Fault, Proxy
from ...sim.flash import FlashError
from ...tree import CHECKOUT
from ..figures import DOCUMENT, document
from .stage import Answer, Cloud, Origin, update_firmware
from .wire import WINDOW

FOLDER = CHECKOUT / "build" / "soak"
EXAMPLE = CHECKOUT / "examples" / "thermometer"
UPDATES = 300
BOARDS = 4
MINUTES = 60.0
LIMIT_S = 180.0  # for one update
SIZES = 120_000, 708_482  # bytes of a firmware
RATES = 100_000, 400_000  # bytes per second of the server
HEAP = "112k"  # what an ESP32 has once it has grown

# A download of a block takes about so many operations of the flash.
_OPERATIONS = 30
KINDS = ("fin", "rst", "silence", "stall", "status", "whole", "link")


@dataclass(frozen=True)
class Plan:
    """One update: a function of seed and number alone.

    `answers` are the server's, `links` the bytes after which the broker's connection is cut, and
    how. `power`: where the flash dies, as a share of the download, or None.
    """

    number: int
    size: int
    rate: int
    segment: int
    kinds: list[str]
    answers: list[Answer]
    links: list[tuple[int, str]]
    power: tuple[float, str] | None


@dataclass
class Result:
    """How an update went. `again` is what was sent more than once, in bytes, less what a server
    sent that ignored the range; that is `ignored`."""

    number: int
    ended: str  # "done", or what was wrong
    size: int = 0
    kinds: list[str] = field(default_factory=list)
    power_cuts: int = 0
    again: int = 0
    ignored: int = 0
    seconds: float = 0.0


def plan(seed: int, number: int) -> Plan:
    chance = random.Random(f"{seed} {number}")
    size = chance.randint(*SIZES)
    kinds = [chance.choice(KINDS) for _ in range(chance.randint(2, 4))]
    # The broker's connection is cut once at most: where it is silent, that takes time to be seen.
    while kinds.count("link") > 1:
        kinds[kinds.index("link")] = chance.choice(KINDS)
    answers, links = [], []
    for kind in kinds:
        # So short that all of them have their turn before the firmware is whole.
        after = chance.randint(0, size // (len(kinds) + 2))
        if kind == "link":
            links.append((chance.randint(1, size // 2), chance.choice(("fin", "rst", "silence"))))
        elif kind == "status":
            answers.append(Answer(status=chance.choice((500, 502, 503)), retry_after=0))
        elif kind == "whole":
            answers.append(Answer(whole=True, ends_after=after))
        else:
            stall_s, more = chance.uniform(0.2, 1), size // 50
            answers.append(Answer(ends_after=after, end=kind, stall_s=stall_s, more=more))
    power = None
    if number % 3 == 0:
        power = chance.random(), chance.choice(("die", "part", "random"))
    rate = chance.randint(*RATES)
    return Plan(number, size, rate, chance.choice((536, 1436)), kinds, answers, links, power)


class Lane:
    """One board, updated again and again, and what is around it."""

    def __init__(self, folder: Path, broker: Broker, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._origin = stack.enter_context(Origin())
        self._link = stack.enter_context(Proxy("127.0.0.1", broker.port))
        self._cloud = stack.enter_context(Cloud(broker.port, folder.name))
        config = {
            "product_id": "P",
            "device_name": folder.name,
            "version": "0",
            "mqtt": {"host": "127.0.0.1", "port": self._link.port, "keepalive_s": 4},
            "http": {"timeout_s": 2, "deadline_s": 3},
            # No floor between downloads: a real board has a day for what is minutes here.
            "retry": {"first_s": 0.1, "most_s": 1, "rest_most_s": 1},
        }
        boot = WINDOW.encode() + (CHECKOUT / "boot.py").read_bytes()
        files = {"/boot.py": boot}
        self.board = Board(folder, heap=HEAP, mpy=True, config=config, files=files)
        self.board.install()
        stack.callback(self.board.stop)
        self.board.power_on()
        self._cloud.wait_version("0")

    def update(self, seed: int, it: Plan) -> Result:
        result = Result(it.number, "done", it.size, list(it.kinds))
        start = time.monotonic()
        version = f"u{it.number}"
        release = self._folder / f"{version}.bin"
        pack(EXAMPLE, version, out=release, application="thermometer", pad_to=it.size)
        data = release.read_bytes()
        release.unlink()
        origin = self._origin
        origin.rate, origin.segment = it.rate, it.segment
        origin.serve(data, it.answers)
        heard, cuts, links = self._cloud.heard, self.board.power_cuts, len(self._link.cuts)
        push = update_firmware(version, origin.url(), data)
        ended = threading.Event()
        threads = [threading.Thread(target=self._cut_links, args=(it, ended))]
        if it.power:
            self.board.arm(self._fault(seed, it))
            threads.append(threading.Thread(target=self._power, args=(ended,)))
        for thread in threads:
            thread.start()
        self._cloud.want(push)
        try:
            said = self._cloud.wait_end(version, heard, LIMIT_S)
            if said["state"] != "done":
                result.ended = f"{said['state']} {said['result_code']}: {said['result_msg']}"
            elif self._read(f"/firmware/{version}.bin") != data:
                result.ended = "wrong bytes"
            elif origin.answers or len(self._link.cuts) - links != len(it.links):
                result.ended = "not all faults came"
            elif self.board.power_cuts - cuts != bool(it.power):
                result.ended = f"{self.board.power_cuts - cuts} power cuts"
        except TimeoutError as error:
            result.ended = str(error)
        finally:
            self._cloud.want(None)
            ended.set()
            for thread in threads:
                thread.join()
        result.power_cuts = self.board.power_cuts - cuts
        result.ignored = sum(
            min(request.first, request.body) for request in origin.requests if request.answer.whole
        )
        result.again = self._sent() - result.ignored - it.size
        result.seconds = round(time.monotonic() - start, 1)
        return result

    def _sent(self) -> int:
        """Bytes of the firmware that the server has sent for this update."""
        requests = list(self._origin.requests)
        return sum(request.body for request in requests if not request.answer.status)

    def _fault(self, seed: int, it: Plan) -> Fault:
        assert it.power
        share, kind = it.power
        operations = self.board.flash_counts()["operations"]
        ahead = int(share * it.size / 4096 * _OPERATIONS)
        return Fault(kind, operations + ahead, seed=seed + it.number)

    def _power(self, ended: threading.Event) -> None:
        """Gives the board its power back."""
        while not ended.wait(0.05):
            if not self.board.on:
                self.board.power_on()
                return

    def _cut_links(self, it: Plan, ended: threading.Event) -> None:
        """Cuts the broker's connection when so much of the firmware was sent."""
        for after, kind in it.links:
            while self._sent() < after or not self._link.cut_now(kind):
                if ended.wait(0.02):
                    return

    def _read(self, path: str) -> bytes:
        # The copy of a flash that is being written to may be half old and half new.
        for _ in range(20):
            with contextlib.suppress(FlashError, FileNotFoundError):
                return self.board.read(path)
            time.sleep(0.1)
        return self.board.read(path)


class Soak:
    """A run of `updates`; what was done is kept in `folder`."""

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
        """What must be the same for a run to go on: the boards' code, too."""
        return [self.seed, self.updates, self._code]

    def left(self) -> list[int]:
        return [n for n in range(1, self.updates + 1) if n not in self.results]

    def add(self, result: Result) -> None:
        with self._lock:
            self.results[result.number] = result
            results = [asdict(each) for _, each in sorted(self.results.items())]
            kept = {"run": self._run(), "results": results}
            temporary = self._path.with_suffix(".tmp")
            temporary.write_text(json.dumps(kept, indent=1))
            os.replace(temporary, self._path)

    def run(self, console: Console, boards: int, minutes: float) -> None:
        numbers: SimpleQueue[int] = SimpleQueue()
        for number in self.left():
            numbers.put(number)
        until = time.monotonic() + minutes * 60 - LIMIT_S
        with surroundings() as (folder, broker):
            lanes = [
                threading.Thread(
                    target=self._lane, args=(console, folder, broker, lane, numbers, until)
                )
                for lane in range(boards)
            ]
            for thread in lanes:
                thread.start()
            for thread in lanes:
                thread.join()

    def _lane(
        self,
        console: Console,
        folder: Path,
        broker: Broker,
        lane: int,
        numbers: SimpleQueue[int],
        until: float,
    ) -> None:
        name = f"soak{lane}"
        while time.monotonic() < until:
            # A board that failed is replaced by a new one.
            with contextlib.ExitStack() as stack:
                shutil.rmtree(folder / name, ignore_errors=True)
                here = Lane(folder / name, broker, stack)
                while time.monotonic() < until:
                    try:
                        number = numbers.get_nowait()
                    except Empty:
                        return
                    result = attempt(here, self.seed, plan(self.seed, number))
                    self.add(result)
                    show(console, result)
                    if result.ended != "done":
                        log = self._path.parent / f"update-{number}.log"
                        log.write_text("\n".join(here.board.log[-400:]) + "\n")
                        break


def code() -> str:
    """A digest of what boards run."""
    paths = [CHECKOUT / "boot.py", CHECKOUT / "main.py", *sorted((CHECKOUT / "lib").rglob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def attempt(lane: Lane, seed: int, it: Plan) -> Result:
    """An update; whatever goes wrong with it is its result."""
    try:
        return lane.update(seed, it)
    except Exception:
        return Result(it.number, traceback.format_exc(), it.size, it.kinds)


@contextlib.contextmanager
def surroundings() -> Iterator[tuple[Path, Broker]]:
    with tempfile.TemporaryDirectory(prefix="ivota-soak-") as folder:
        broker = Broker(Path(folder, "broker"), "127.0.0.1", 0, print)
        broker.start()
        try:
            yield Path(folder), broker
        finally:
            broker.stop()


def show(console: Console, result: Result) -> None:
    faults = " ".join(result.kinds) + " power" * result.power_cuts
    console.print(
        f"{result.number:4} {result.ended}  {result.size} bytes, {result.again} again, "
        f"{result.seconds:.0f} s  ({faults})",
        markup=False,
        highlight=False,
    )


def summary(seed: int, results: list[Result]) -> str:
    """The section of docs/benchmarks.md."""
    done = [each for each in results if each.ended == "done"]
    wrong = sum(each.ended == "wrong bytes" for each in results)
    faults = sum(len(each.kinds) for each in results)
    cuts = sum(each.power_cuts for each in results)
    lines = [
        f"{len(results)} updates (seed {seed}): {len(done)} `done`, {wrong} with wrong bytes. "
        f"{faults} faults of network and server, {cuts} power cuts; "
        f"{sum(each.size for each in done):,} bytes of firmware.",
        "",
        "| bytes sent again, by update | updates | none | median | 90 % | most | share of all |",
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
        f"Not in it: {ignored:,} bytes from servers that ignored the range and sent all.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ivota_tools.bench.download.soak")
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
            lane = Lane(folder / "soak", broker, stack)
            it = plan(given.seed, given.only)
            console.print(it)
            result = attempt(lane, given.seed, it)
            print(*lane.board.log, sep="\n")
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
