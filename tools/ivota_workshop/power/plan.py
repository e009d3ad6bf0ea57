"""Plan which cuts and failures of which updates to try, in shares that take some seconds."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from ivota_tools.sim import Fault

from .cuts import AFTER, KINDS, Cut, Recording
from .played import Played
from .scenarios import SIZE
from .stage import Stage
from .work import Task

DOUBLE = ("one", "image one", "delta one")  # scenarios
FAILING = ("few", "image few", "signed", "delta few", "channel")
_SHARE = 24  # cuts in a task


@dataclass
class Sizes:
    """How much is tried.

    `torn`: in an update with more operations than this, each is torn in one of the two ways, not
    in both. For the 708,482 bytes, cut at so many operations that write only data, and at so many
    others. `firsts`, `seconds`: numbers of the two cuts; None: every kind at every operation.
    `randoms`: runs of five cuts. `armed`: cuts that are compared with a board's death. `errors`:
    failing flashes, for each update and kind of operation. `full`, `flips`: flashes that are full
    after a cut, and files with a flipped bit, for each update."""

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


def is_data(stage: Stage, recording: Recording, at: int) -> bool:
    """Return whether operation `at` programs only bytes of the firmware."""
    data = recording.operations[at].data
    return (
        data is not None and len(data) >= 64 and (data in stage.firmware or data in stage.result)
    )


def singles(played: Played, sizes: Sizes, seed: int) -> list[Cut]:
    """Return every kind of cut at every operation; in the large firmware's data, only a sample."""
    recording = played.recording
    places = range(len(recording.operations))
    # Cuts between a report and the next operation.
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
    """Return all tasks, in shares that take seconds."""
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
        """Shuffle, as time may be too short for all tasks; put most of the slow ones late."""
        if task.sort == "single" and task.scenario in DOUBLE:
            return -1  # first: two cuts may leave the same state as one, which counts as single
        large = played[task.scenario].stage.scenario.size == SIZE
        slow = large or task.sort not in ("single", "double")
        return chance.random() ** (0.25 if slow else 1)

    return sorted(found, key=when)
