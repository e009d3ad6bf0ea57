"""Distribute all tasks to processes."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import multiprocessing
import pickle
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path

from ivota_tools.common.project_files import CHECKOUT

from .cases import Result
from .played import Played, play
from .processes import processes as started
from .scenario import Scenario
from .scenarios import scenarios
from .seen import Seen
from .work import Task, Worker

PROCESSES = 2


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """Provide a folder for everything, in memory if possible."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="ivota-power-", dir=place) as folder:
        yield Path(folder)


def code() -> str:
    """Return a digest of the code that boards run, and of the code that cuts their power."""
    paths = [CHECKOUT / "boot.py", CHECKOUT / "main.py"]
    for folder in ("lib", "tools/ivota_workshop/power", "tools/ivota_tools/sim"):
        paths += sorted((CHECKOUT / folder).rglob("*.py"))
    paths = [path for path in paths if not path.name.startswith("swarm")]  # not run by boards
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


class Campaign:
    """The stages and processes for a list of tasks."""

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
        """Yield each task's number and results; `todo` is read as processes become free."""
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
