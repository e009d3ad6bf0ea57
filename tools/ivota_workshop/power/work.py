"""The work of one process: a share of the cases."""

from __future__ import annotations

import hashlib
import pickle
import random
from dataclasses import dataclass
from pathlib import Path

from ivota_tools.sim import Fault

from .bench import Bench
from .cases import Result, armed, complete, failing, flip, full, random_run
from .cuts import KINDS, Cut, Images, Known, record
from .played import Played
from .seen import Seen


@dataclass(frozen=True)
class Task:
    """A share of the work. `cuts` are the first cuts; `seconds` is the number of second cuts in
    each continuation, None: every kind at every operation; `seeds` are those of random runs, or of
    the bits that are flipped after each of the cuts."""

    scenario: str
    sort: str
    cuts: tuple[Cut, ...] = ()
    seconds: int | None = None
    seeds: tuple[int, ...] = ()
    errors: tuple[Fault, ...] = ()
    seed: int = 0


class Worker:
    """Run tasks, with a bench for each scenario."""

    def __init__(self, folder: Path, stages: Path, seen: Seen) -> None:
        self._folder = folder
        self._stages = stages
        self._seen = seen
        self._benches: dict[str, tuple[Played, Bench]] = {}

    def bench(self, scenario: str) -> tuple[Played, Bench]:
        if scenario not in self._benches:
            played: Played = pickle.loads((self._stages / scenario).read_bytes())
            self._benches[scenario] = played, Bench(self._folder / scenario, played.stage)
        return self._benches[scenario]

    def do(self, task: Task) -> list[Result]:
        played, bench = self.bench(task.scenario)
        if task.sort == "single":
            return self._single(played, bench, task)
        if task.sort == "double":
            return self._double(played, bench, task)
        if task.sort == "error":
            return [failing(played, bench, fault) for fault in task.errors]
        if task.sort == "full":
            return [full(played, bench, cut) for cut in task.cuts]
        if task.sort == "flip":
            flips = zip(task.cuts, task.seeds, strict=True)
            found = [flip(played, bench, cut, seed) for cut, seed in flips]
            return [each for each in found if each]
        if task.sort == "armed":
            return [armed(played, bench, cut) for cut in task.cuts]
        return [random_run(played, bench, seed) for seed in task.seeds]

    def _new(self, digest: int, known: Known, played: Played) -> bytes:
        """Return the digest of a state (flash and cloud), or b"" if it was tried before."""
        about = f"{digest} {known.have} {known.satisfied(played.stage.scenario)}"
        found = hashlib.blake2b(about.encode(), digest_size=8).digest()
        return found if self._seen.add(found) else b""

    def _single(self, played: Played, bench: Bench, task: Task) -> list[Result]:
        results = []
        recording = played.recording
        for cut, image, digest in Images(recording).each(task.cuts):
            known = recording.known_at(cut.at)
            if state := self._new(digest, known, played):
                results.append(complete(played, bench, (cut,), image, known))
                results[-1].digest = state
        return results

    def _double(self, played: Played, bench: Bench, task: Task) -> list[Result]:
        results = []
        for first, image, _ in Images(played.recording).each(task.cuts):
            known = played.recording.known_at(first.at)
            again = record(bench, bytes(image), known)
            chance = random.Random(f"{task.seed} {first}")
            places = range(len(again.operations))
            cuts = [Cut(kind, at, task.seed) for at in places for kind in KINDS]
            if task.seconds is not None:
                cuts = chance.sample(cuts, min(task.seconds, len(cuts)))
            for second, torn, digest in Images(again).each(cuts):
                then = again.known_at(second.at)
                if state := self._new(digest, then, played):
                    result = complete(played, bench, (first, second), torn, then)
                    result.lost = max(result.lost, again.run.again)
                    result.digest = state
                    results.append(result)
        return results
