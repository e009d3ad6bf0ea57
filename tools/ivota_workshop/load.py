"""`make soak-load`: run all tests on busy cores, those that wait five times; resumable.

A test that fails here depends on time, and must be fixed. The results are kept in
build/soak-load/ until the code or a test changes, or until `--afresh`. A part is one file of tests
in one round: round 0 runs every test, the others only tests with the marker `waits`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from rich.console import Console

from ivota_tools.common import atomic_write
from ivota_tools.common.project_files import CHECKOUT

FOLDER = CHECKOUT / "build" / "soak-load"
CODE = ("lib", "tools", "tests_host", "examples", "boot.py", "main.py", "pyproject.toml")
ROUNDS = 5
WORKERS = 4  # like `make test`
MINUTES = 55.0
_NO_TESTS = 5  # pytest's exit status if a file has no test with the marker
# It ends with its standard input, and so with its parent, however that ends.
_BUSY = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
while True:
    pass
"""


@dataclass
class Part:
    """The result of a file in a round. `failed`: each test with the first line of its error."""

    tests: int = 0
    seconds: float = 0.0
    failed: list[tuple[str, str]] = field(default_factory=list)


@contextlib.contextmanager
def busy(count: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Keep `count` cores busy with computing processes."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-c", _BUSY], stdin=subprocess.PIPE)
            made.append(stack.enter_context(process))
            stack.callback(process.kill)
        yield made


def digest(root: Path) -> str:
    """Return a digest of everything that affects the tests."""
    found = hashlib.sha256()
    for name in CODE:
        place = root / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and "__pycache__" not in path.parts:
                found.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()[:16]


class Soak:
    """The results so far of the tests below `root`, kept in `folder`."""

    def __init__(
        self,
        root: Path,
        folder: Path,
        tests: str,
        rounds: int,
        say: Console,
        workers: int = WORKERS,
    ) -> None:
        self._root = root
        self._workers = workers
        self._folder = folder
        self._say = say
        self._path = folder / "progress.json"
        self._code = digest(root)
        place = root / tests
        files = [place] if place.is_file() else sorted(place.rglob("test_*.py"))
        self.parts = [
            f"{number}/{file.relative_to(root)}" for number in range(rounds + 1) for file in files
        ]
        folder.mkdir(parents=True, exist_ok=True)
        kept = json.loads(self._path.read_text()) if self._path.exists() else {}
        if kept and kept["code"] != self._code:
            say.print("code or tests have changed: from the start")
            kept = {}
        self.done = {name: Part(**part) for name, part in kept.get("done", {}).items()}

    @property
    def left(self) -> list[str]:
        return [name for name in self.parts if name not in self.done]

    @property
    def failures(self) -> list[tuple[str, str, str]]:
        """Return (round, test, error) of each failure."""
        return [
            (name.partition("/")[0], test, why)
            for name in self.parts
            if name in self.done
            for test, why in self.done[name].failed
        ]

    def run(self, until: float) -> None:
        """Run the parts until that time of `time.monotonic`; complete a part that has begun."""
        with busy(os.cpu_count() or 1):
            for name in self.left:
                if time.monotonic() >= until:
                    return
                self.done[name] = self._part(name)
                kept = {key: asdict(part) for key, part in self.done.items()}
                atomic_write.write(
                    self._path, json.dumps({"code": self._code, "done": kept}, indent=1)
                )

    def _part(self, name: str) -> Part:
        number, _, file = name.partition("/")
        stem = name.replace("/", "-")
        report, output = self._folder / f"{stem}.xml", self._folder / f"{stem}.txt"
        report.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", file, "-q", f"--junitxml={report}"]
        if "/device/" in file:  # a test file of its own for the runs on MicroPython
            command.append("--deselect=tests_host/test_interpreters.py")
        command += [f"--numprocesses={self._workers}"]
        command += ["-m", "waits"] if number != "0" else []
        begun = time.monotonic()
        with open(output, "wb") as log:
            ended = subprocess.run(
                command, cwd=self._root, stdout=log, stderr=subprocess.STDOUT
            ).returncode
        part = Part(seconds=round(time.monotonic() - begun, 1))
        if report.exists():
            part.tests, part.failed = read(report)
        if ended not in (0, _NO_TESTS) and not part.failed:
            part.failed = [(file, f"pytest ended with {ended}")]
        if not part.failed:
            output.unlink()
        if part.tests or part.failed:
            self._say.print(
                f"round {number}  {file}  {part.tests} tests, {len(part.failed)} failed, "
                f"{part.seconds:.0f} s"
            )
        for test, why in part.failed:
            self._say.print(f"    {test}: {why}", markup=False, soft_wrap=True)
        return part


def read(report: Path) -> tuple[int, list[tuple[str, str]]]:
    """Return how many tests a report of pytest's contains, and the failures with their errors."""
    cases = list(ElementTree.parse(report).iter("testcase"))
    failed = []
    for case in cases:
        for kind in ("failure", "error"):
            for problem in case.findall(kind):
                why = (problem.get("message") or kind).splitlines()[0][:200]
                failed.append((f"{case.get('classname')}::{case.get('name')}", why))
    return len(cases), failed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ivota_workshop.load")
    parser.add_argument("tests", nargs="?", default="tests_host", help="a folder or file of tests")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of what waits")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="then stop, to be resumed")
    parser.add_argument("--afresh", action="store_true", help="forget what was done before")
    given = parser.parse_args()
    console = Console(highlight=False)
    if given.afresh:
        shutil.rmtree(FOLDER, ignore_errors=True)
    soak = Soak(CHECKOUT, FOLDER, given.tests, given.rounds, console)
    soak.run(time.monotonic() + given.minutes * 60)
    done = len(soak.parts) - len(soak.left)
    tests = sum(soak.done[name].tests for name in soak.parts if name in soak.done)
    console.print(f"{done} of {len(soak.parts)} parts done: {tests} tests run")
    for number, test, why in soak.failures:
        console.print(f"FAILED in round {number}: {test}: {why}", markup=False, soft_wrap=True)
    if soak.failures:
        console.print(f"what they printed is in {FOLDER}")
    if soak.left:
        console.print("`make soak-load` goes on from here")
    sys.exit(1 if soak.failures or soak.left else 0)


if __name__ == "__main__":
    main()
