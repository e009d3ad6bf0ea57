"""`make soak-load`: run all tests on busy cores, those that wait five times; resumable.

A test that fails here depends on time or on luck, and must be fixed. Round 0 runs every test; each
of the other rounds runs only tests with the marker `waits`. When a test has ended, the soak writes
its result and its tree (the commit and a digest of the files) into build/soak-load/, and does not
run it again on that tree. So run the soak in a worktree in which nobody works:

    git worktree add --detach ../ivota-soak && cd ../ivota-soak && make soak-load

When you have fixed a test, check out the fix there and continue with
`make soak-load SOAK=--keep-passed`, which runs only the tests that have not passed on any tree.
The last lines say on which trees the tests of each round passed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from rich.console import Console

from ivota_tools.common.project_files import CHECKOUT
from ivota_workshop.load import journal
from ivota_workshop.load.processes import busy, family

FOLDER = CHECKOUT / "build" / "soak-load"
CODE = ("lib", "tools", "tests_host", "examples", "boot.py", "main.py", "pyproject.toml")
ROUNDS = 5
WORKERS = 4  # like `make test`
MINUTES = 55.0
_NO_TESTS = 5  # pytest's exit status if nothing is left to run


def tree(root: Path) -> str:
    """Name a tree: its commit, and a digest of everything that affects the tests."""
    found = hashlib.sha256()
    for name in CODE:
        place = root / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and "__pycache__" not in path.parts:
                found.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    words = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    return f"{commit or 'no commit'} ({found.hexdigest()[:12]})"


class Soak:
    """The rounds of the tests below `root`, whose notes are kept in `folder`."""

    def __init__(
        self,
        root: Path,
        folder: Path,
        tests: str,
        rounds: int,
        say: Console,
        workers: int = WORKERS,
        keep_passed: bool = False,
    ) -> None:
        self._root = root
        self._folder = folder
        self._tests = tests
        self._say = say
        self._workers = workers
        self._keep_passed = keep_passed
        self._journal = folder / "journal.jsonl"
        self.tree = tree(root)
        self.rounds = range(rounds + 1)
        folder.mkdir(parents=True, exist_ok=True)

    def notes(self, number: int) -> dict[str, journal.Note]:
        """Return the newest note of each test in a round; under "", that the round has ended."""
        found = {}
        for note in journal.read(self._journal):
            here = note.tree == self.tree
            if note.round == number and (here or self._keep_passed and note.test):
                found[note.test] = note
        # A failure on another tree says nothing about this one.
        return {
            test: note for test, note in found.items() if note.tree == self.tree or not note.why
        }

    @property
    def left(self) -> list[int]:
        """Return the rounds that have not ended on this tree."""
        return [number for number in self.rounds if "" not in self.notes(number)]

    @property
    def failures(self) -> list[journal.Note]:
        return [note for number in self.rounds for note in self.notes(number).values() if note.why]

    def run(self, until: float, cores: int) -> None:
        """Run the remaining tests until that time of `time.time`; no test begins after it."""
        with busy(cores):
            for number in self.rounds:
                if time.time() >= until:
                    return
                if number in self.left or self._keep_passed and self._failed_in(number):
                    self._run_round(number, until)

    def _failed_in(self, number: int) -> bool:
        return any(note.why for note in self.notes(number).values())

    def _run_round(self, number: int, until: float) -> None:
        done = self._folder / "done.txt"
        again = self._keep_passed  # what has failed runs again, too
        done.write_text(
            "\n".join(
                test for test, note in self.notes(number).items() if not (again and note.why)
            )
        )
        given = journal.Given(str(self._journal), str(done), self.tree, number, until)
        command = [sys.executable, "-m", "pytest", self._tests, "-q", "-p", journal.__name__]
        command += ["--continue-on-collection-errors", f"--numprocesses={self._workers}"]
        command += ["-m", "waits"] if number else []
        begun = time.monotonic()
        with family(command, self._root, given.environment()) as status:
            pass
        seconds = time.monotonic() - begun
        if status not in (0, 1, _NO_TESTS):
            raise SystemExit(f"soak-load: pytest ended with {status}")
        if time.time() < until:
            journal.write(
                self._journal, journal.Note(self.tree, number, "", "", round(seconds, 1))
            )
        self._say.print(f"round {number}: {self._sum(number)}, {seconds:.0f} s, {load()}")

    def _sum(self, number: int) -> str:
        notes = [note for test, note in self.notes(number).items() if test]
        passed = Counter(note.tree for note in notes if not note.why)
        words = [f"{count} passed on {name}" for name, count in passed.items()]
        return ", ".join([*words, f"{len(notes) - passed.total()} failed"])

    def report(self) -> int:
        """Print the result of each round; return the exit status."""
        for number in self.rounds:
            ended = "ended" if number not in self.left else "not ended"
            self._say.print(f"round {number}: {ended}: {self._sum(number)}")
        for note in self.failures:
            self._say.print(
                f"FAILED in round {note.round}: {note.test}: {note.why}",
                markup=False,
                soft_wrap=True,
            )
        if self.left:
            self._say.print("the same command goes on from here")
        return 1 if self.failures or self.left else 0


def load() -> str:
    return f"load {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m ivota_workshop.load",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("tests", nargs="?", default="tests_host", help="a folder or file of tests")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of what waits")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="then stop, to be resumed")
    parser.add_argument("--workers", type=int, default=WORKERS, help="tests at once")
    parser.add_argument(
        "--busy",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="keep so many cores busy; 0 if other work does that",
    )
    parser.add_argument(
        "--keep-passed",
        action="store_true",
        help="run only what has not passed, whatever has changed since",
    )
    parser.add_argument("--afresh", action="store_true", help="forget what was done before")
    given = parser.parse_args()
    if given.afresh:
        shutil.rmtree(FOLDER, ignore_errors=True)

    def end(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    soak = Soak(
        CHECKOUT,
        FOLDER,
        given.tests,
        given.rounds,
        Console(highlight=False),
        given.workers,
        given.keep_passed,
    )
    soak.run(time.time() + given.minutes * 60, given.busy)
    sys.exit(soak.report())


if __name__ == "__main__":
    main()
