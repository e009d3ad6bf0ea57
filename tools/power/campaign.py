"""All that is tried: which cuts of which updates, by how many processes, and what came of it."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import multiprocessing
import pickle
import random
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from ..sim import Fault
from ..sim.filesystem import tree
from ..tree import CHECKOUT
from .bench import Bench
from .cuts import AFTER, KINDS, Cut, Known, Recording, record
from .judge import judge
from .processes import processes as started
from .scenario import Scenario
from .scenarios import SIZE, scenarios
from .seen import Seen
from .stage import Stage, stage
from .work import Played, Result, Task, Worker

PROCESSES = 2
DOUBLE = ("one", "image one", "delta one")  # scenarios
FAILING = ("few", "image few", "signed", "delta few")
_SHARE = 24  # cuts in a task


Cell = tuple[str, str, str, str]  # kind of cut, storage, payload, scenario


@dataclass
class Sizes:
    """How much is tried. `torn`: of an update with more operations, each is torn in one of the
    two ways, not in both. Of the 708,482 bytes: cuts at so many operations that are plain data,
    and at so many others. `firsts`, `seconds`: of two cuts; None: at every operation, of every
    kind. `randoms`: runs of five cuts. `armed`: cuts that are compared with a board's death.
    `errors`: flashes that fail, of each update and for each kind of operation.
    `full`, `flips`: flashes that are full after a cut, and files with a bit flipped, of each."""

    torn: int
    data: int
    other: int | None
    firsts: int | None
    seconds: int | None
    randoms: int
    armed: int
    errors: int
    full: int
    flips: int


QUICK = Sizes(
    torn=120,
    data=100,
    other=200,
    firsts=24,
    seconds=30,
    randoms=120,
    armed=32,
    errors=6,
    full=12,
    flips=24,
)
SOAK = Sizes(
    torn=10_000,
    data=300,
    other=None,
    firsts=None,
    seconds=None,
    randoms=2000,
    armed=0,
    errors=60,
    full=200,
    flips=600,
)


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """A folder for everything, in memory where there is such a place."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="ivota-power-", dir=place) as folder:
        yield Path(folder)


def code() -> str:
    """A digest of what boards run, and of what cuts their power."""
    paths = [CHECKOUT / "boot.py", CHECKOUT / "main.py"]
    for folder in ("lib", "tools/power", "tools/sim"):
        paths += sorted((CHECKOUT / folder).rglob("*.py"))
    paths = [path for path in paths if not path.name.startswith("swarm")]  # no boards
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def play(
    scenario: Scenario, folder: Path, replaced: Mapping[str, bytes] | None = None
) -> tuple[Played, list[str]]:
    """A scenario undisturbed, and what is wrong with that already."""
    made = stage(scenario, folder / "making", replaced)
    with Bench(folder / "bench", made) as bench:
        recording = record(bench, made.image, Known())
    shutil.rmtree(folder / "bench")
    files = tree(recording.final, made.blocks) if recording.run.ended == "settled" else {}
    wrong = judge(made, files, Known(), recording.run, recording.final)
    return Played(made, recording, files), [each.text for each in wrong]


def is_data(stage: Stage, recording: Recording, at: int) -> bool:
    """Whether operation `at` programs nothing but bytes of the firmware."""
    data = recording.operations[at].data
    return (
        data is not None and len(data) >= 64 and (data in stage.firmware or data in stage.result)
    )


def singles(played: Played, sizes: Sizes, seed: int) -> list[Cut]:
    """Every kind of cut at every operation; of the large firmware a sample where it is data."""
    recording = played.recording
    places = range(len(recording.operations))
    # Where something was said after an operation, and before the next.
    known = [recording.known_at(at) for at in range(len(recording.operations) + 1)]
    between = [Cut(AFTER, at) for at in places if known[at].events != known[at + 1].events]
    scenario = played.stage.scenario
    if scenario.cuts:
        chance = random.Random(f"{scenario.name} {seed}")
        chosen = sorted(chance.sample(places, min(scenario.cuts, len(places))))
        return [Cut(kind, at, seed) for at in chosen for kind in KINDS]
    if scenario.size < SIZE:
        few = len(places) <= sizes.torn
        return between + [
            Cut(kind, at, 0 if kind == "die" else seed)
            for at in places
            for kind in (KINDS if few else ("die", KINDS[1 + at % 2]))
        ]
    chance = random.Random(f"{scenario.name} {seed}")
    data = [at for at in places if is_data(played.stage, recording, at)]
    other = [at for at in places if at not in set(data)]
    if sizes.other is not None:
        other = sorted(chance.sample(other, min(sizes.other, len(other))))
    chosen = other + sorted(chance.sample(data, min(sizes.data, len(data))))
    return [Cut(chance.choice(KINDS), at, seed) for at in chosen]


def tasks(played: Mapping[str, Played], sizes: Sizes, seed: int = 0) -> list[Task]:
    """Everything that is to do, in shares that take seconds."""
    found = []
    for name, each in played.items():
        cuts = singles(each, sizes, seed)
        for n in range(0, len(cuts), _SHARE):
            found.append(Task(name, "single", tuple(cuts[n : n + _SHARE])))
    chance = random.Random(f"doubles {seed}")
    for name in DOUBLE:
        firsts = [cut for cut in singles(played[name], sizes, seed) if cut.kind != AFTER]
        if sizes.firsts is not None:
            firsts = chance.sample(firsts, min(sizes.firsts, len(firsts)))
        found += [Task(name, "double", (cut,), sizes.seconds, seed=seed) for cut in firsts]
    names = [name for name, each in played.items() if each.stage.scenario.size < SIZE]
    for n in range(0, sizes.randoms, 4):
        seeds = tuple(range(seed * sizes.randoms + n, seed * sizes.randoms + n + 4))
        found.append(Task(names[n // 4 % len(names)], "random", seeds=seeds))
    for name in FAILING:
        recording = played[name].recording
        for on in ("program", "erase", "write", "read"):
            places = range(recording.reads if on == "read" else len(recording.operations))
            errors = [Fault("error", chance.choice(places), on) for _ in range(sizes.errors)]
            for n in range(0, len(errors), 6):
                found.append(Task(name, "error", errors=tuple(errors[n : n + 6])))
        cuts = [cut for cut in singles(played[name], sizes, seed) if cut.kind != AFTER]
        some = chance.choices(cuts, k=sizes.full)
        found += [Task(name, "full", tuple(some[n : n + 6])) for n in range(0, sizes.full, 6)]
        some = chance.choices(cuts, k=sizes.flips)
        for n in range(0, sizes.flips, 12):
            seeds = tuple(range(seed * sizes.flips + n, seed * sizes.flips + n + 12))
            found.append(Task(name, "flip", tuple(some[n : n + 12]), seeds=seeds))
    if sizes.armed:
        for name in names:
            cuts = [cut for cut in singles(played[name], sizes, seed) if cut.kind != AFTER]
            share = chance.sample(cuts, max(sizes.armed // len(names), 1))
            found.append(Task(name, "armed", tuple(share)))

    def when(task: Task) -> float:
        """In a mixed order, as time may be too short for all; most of what is slow is late."""
        if task.sort == "single" and task.scenario in DOUBLE:
            return -1  # the second of two cuts may leave what one does: that counts as one
        large = played[task.scenario].stage.scenario.size == SIZE
        slow = large or task.sort not in ("single", "double")
        return chance.random() ** (0.25 if slow else 1)

    return sorted(found, key=when)


@dataclass
class Tally:
    """What came of it."""

    cells: collections.Counter[Cell] = field(default_factory=collections.Counter)
    faults: collections.Counter[str] = field(default_factory=collections.Counter)
    doubles: int = 0
    randoms: int = 0
    armed: int = 0
    between: int = 0
    errors: int = 0
    full: int = 0
    flips: int = 0
    loss: dict[str, int] = field(default_factory=dict)
    cases: int = 0
    wrong_cases: int = 0

    def add(self, result: Result) -> None:
        self.cases += 1
        self.faults.update({each.sort for each in result.faults})
        self.wrong_cases += bool(result.faults)
        if result.sort in ("single", "double"):
            self.cells[result.cell] += 1
        self.doubles += result.sort == "double"
        self.randoms += result.sort == "random" and result.cuts == 5
        self.armed += result.sort == "armed"
        self.between += result.sort == "between"
        self.errors += result.sort == "error"
        self.full += result.sort == "full"
        self.flips += result.sort == "flip"
        if result.lost_most is not None:
            storage = result.cell[1]
            self.loss[storage] = max(self.loss.get(storage, 0), result.lost)

    @property
    def states(self) -> int:
        return sum(self.cells.values())


class Campaign:
    """Stages and processes for a list of tasks."""

    def __init__(self, folder: Path, names: Iterable[str] | None = None) -> None:
        self.folder = folder
        self.stages = folder / "stages"
        self.stages.mkdir()
        self.seen = Seen(folder / "seen")
        self.played: dict[str, Played] = {}
        for name in names or scenarios():
            self._add(scenarios()[name])

    def _add(self, scenario: Scenario) -> None:
        made, wrong = play(scenario, self.folder)
        if wrong:
            raise RuntimeError(f"{scenario.name} undisturbed: {'; '.join(wrong)}")
        self.played[scenario.name] = made
        (self.stages / scenario.name).write_bytes(pickle.dumps(made))

    def run(
        self, todo: Iterable[tuple[int, Task]], processes: int = PROCESSES
    ) -> Iterator[tuple[int, list[Result]]]:
        """The number and the results of each task; they are taken from `todo` as they are due."""
        with started(processes, _begin, self.folder, self.stages, self.seen) as pool:
            ahead: collections.deque[Future[tuple[int, list[Result]]]] = collections.deque()
            for numbered in todo:
                ahead.append(pool.submit(_do, numbered))
                if len(ahead) > 4 * processes:
                    yield ahead.popleft().result()
            for each in ahead:
                yield each.result()


_worker: Worker | None = None


def _begin(folder: Path, stages: Path, seen: Seen) -> None:
    global _worker
    name = multiprocessing.current_process().name
    _worker = Worker(folder / name, stages, seen)


def _do(numbered: tuple[int, Task]) -> tuple[int, list[Result]]:
    assert _worker
    number, task = numbered
    return number, _worker.do(task)
