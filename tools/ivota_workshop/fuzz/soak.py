"""`make soak-fuzz`: at least 500,000 inputs for each parser; resumes the last run.

A parser's results are kept in build/soak-fuzz/ until its code, its target or its check changes.
First each planted fault must be found within a minute of CPU time; afterwards shares of inputs
follow, for as many parsers in parallel as there are cores.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import datetime
import hashlib
import json
import os
import shutil
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from ivota_tools.common import atomic_write
from ivota_tools.common.project_files import CHECKOUT

from ..bench import figures as bench
from ..bench.figures import Figure
from . import engine, measure, target
from .target import HERE

AREA = "trust"
SECTION = "fuzz"
COMMAND = "make soak-fuzz"
FOLDER = CHECKOUT / "build" / "soak-fuzz"
INPUTS = 500_000
SHARE = 125_000
MINUTES = 55.0
FAULT_S = 60
_ESCAPED = "escaped: "


@dataclass
class Done:
    """A parser's results: `found` holds the number of inputs and the CPU seconds after which each
    planted fault was found, `crashes` the failures of the unchanged code."""

    code: str
    inputs: int = 0
    shares: int = 0
    found: dict[str, list[float]] = field(default_factory=dict)
    crashes: list[str] = field(default_factory=list)


def code(name: str) -> str:
    """Return a digest of everything that determines a parser's inputs and results."""
    found = target.load(name)
    check = HERE / "device" / f"fuzz_{name}.py" if found.device else HERE / "host" / f"{name}.py"
    files = [CHECKOUT / each for each in found.code if not each.startswith("umqtt/")]
    files += [check, HERE / "targets" / f"{name}.py"]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


class Soak:
    """The results so far, kept in `folder`."""

    def __init__(self, folder: Path, names: list[str], inputs: int, console: Console) -> None:
        self._path = folder / "progress.json"
        self._folder = folder
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._inputs = inputs
        self._console = console
        folder.mkdir(parents=True, exist_ok=True)
        kept: dict[str, Any] = json.loads(self._path.read_text()) if self._path.exists() else {}
        self.done = {}
        for name in names:
            now = code(name)
            same = name in kept and kept[name]["code"] == now
            self.done[name] = Done(**kept[name]) if same else Done(now)
            found = self.done[name].found  # try the faults again that were not found
            self.done[name].found = {what: at for what, at in found.items() if at}

    def save(self) -> None:
        kept = json.loads(self._path.read_text()) if self._path.exists() else {}
        kept |= {name: asdict(each) for name, each in self.done.items()}
        atomic_write.write(self._path, json.dumps(kept, indent=1))

    def run(self, until: float) -> None:
        """Run until everything is done, or until that time of `time.monotonic`."""
        workers = os.cpu_count() or 1
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            for future in [pool.submit(self._work, until) for _ in range(workers)]:
                future.result()

    def _work(self, until: float) -> None:
        while time.monotonic() < until:
            with self._lock:
                name = self._next()
                if name is None:
                    if not self._busy:
                        return
                else:
                    self._busy.add(name)
            if name is None:
                time.sleep(1)
                continue
            try:
                self._step(name)
            finally:
                with self._lock:
                    self._busy.remove(name)
                    self.save()

    def _next(self) -> str | None:
        """Return the parser with the fewest inputs."""
        free = [name for name in self.done if name not in self._busy]
        todo = [name for name in free if self._fault(name) or not self._whole(name)]
        return min(
            todo, key=lambda name: (not self._fault(name), self.done[name].inputs), default=None
        )

    def _whole(self, name: str) -> bool:
        done = self.done[name]
        return done.inputs >= self._inputs or bool(done.crashes)

    def _fault(self, name: str) -> tuple[int, str] | None:
        """Return the next planted fault that has not been found yet."""
        known = self.done[name].found
        for number, mistake in enumerate(target.load(name).mistakes):
            if mistake.name not in known:
                return number, mistake.name
        return None

    def _step(self, name: str) -> None:
        done = self.done[name]
        fault = self._fault(name)
        if fault:
            number, what = fault
            # On a busy machine a second of CPU time takes several.
            outcome = engine.run(name, 10**9, mistake=number, seconds=5 * FAULT_S)
            found = [outcome.inputs, outcome.cpu_s] if outcome.crash is not None else []
            done.found[what] = found
            said = f"after {outcome.inputs:,} inputs" if found else "NOT FOUND"
            self._say(f"{name}: {what}: {said}")
            return
        work = self._folder / name
        outcome = engine.run(name, SHARE, seed=done.shares + 1, work=work)
        done.inputs += outcome.inputs
        done.shares += 1
        if outcome.crash is not None:
            done.crashes.append(outcome.why)
            self._say(f"{name}: {outcome.why}\n  {outcome.crash[:200]!r}, kept in {work}")
        self._say(f"{name}: {done.inputs:,} inputs")

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def costs(self) -> dict[str, measure.Cost]:
        """Return the cost of each parser's most expensive known input."""
        found = {}
        for name in self.done:
            paths = sorted((self._folder / name / "found").glob("*"))
            inputs = [*target.corpus(name).values(), *(path.read_bytes() for path in paths)]
            found[name] = measure.most(name, target.load(name), inputs)
        return found


def figures(
    done: dict[str, Done], costs: dict[str, measure.Cost], inputs: int
) -> dict[str, Figure]:
    crashes = [why for each in done.values() for why in each.crashes]
    faults = [found for each in done.values() for found in each.found.values()]
    planned = sum(len(target.load(name).mistakes) for name in done)
    late = planned - sum(bool(found) and found[1] <= FAULT_S for found in faults)
    return {
        "fuzz_parsers": Figure(len(done), "", "parsers"),
        "fuzz_inputs_least": Figure(
            min(each.inputs for each in done.values()), f">= {inputs}", "inputs"
        ),
        "fuzz_crashes": Figure(len(crashes), "== 0", "inputs"),
        "paths_escaped": Figure(sum(_ESCAPED in why for why in crashes), "== 0", "inputs"),
        "fuzz_faults": Figure(planned, "", "planted faults"),
        "fuzz_faults_missed": Figure(late, "== 0", "planted faults"),
        "fuzz_lines_share_most": Figure(
            round(max(each.lines_share for each in costs.values()), 3), "<= 1", "of the bound"
        ),
        "fuzz_memory_share_most": Figure(
            round(max(each.memory_share for each in costs.values()), 3), "<= 1", "of the bound"
        ),
    }


def write(found: dict[str, Figure], done: dict[str, Done], folder: Path = bench.FOLDER) -> Path:
    """Write the figures beside others about trust; `fuzz_inputs` is by parser."""
    path = bench.write(AREA, COMMAND, found, folder, keep=True)
    entries = json.loads(path.read_text())
    entries["fuzz_inputs"] = {
        "value": {name: each.inputs for name, each in sorted(done.items())},
        "goal": f"each >= {INPUTS}",
        "unit": "inputs by parser",
        "command": COMMAND,
    }
    atomic_write.write(path, json.dumps(entries, indent=2) + "\n")
    return path


def markdown(
    found: dict[str, Figure], done: dict[str, Done], costs: dict[str, measure.Cost]
) -> str:
    lines = [
        bench.markdown(found),
        "",
        "| parser | what it reads | inputs | lines at most | planted faults: inputs until found |",
        "|---|---|---:|---:|---|",
    ]
    for name, each in sorted(done.items()):
        about = target.load(name).about
        faults = "; ".join(
            f"{what}: {f'{at[0]:,.0f}' if at else 'not found'}" for what, at in each.found.items()
        )
        lines.append(
            f"| `{name}` | {about} | {each.inputs:,} | {costs[name].lines:,} | {faults} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ivota_workshop.fuzz.soak")
    parser.add_argument("names", nargs="*", help="only these; then nothing is documented")
    parser.add_argument("--inputs", type=int, default=INPUTS, help="for each parser")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="then stop, to be resumed")
    parser.add_argument("--afresh", action="store_true", help="forget what was done before")
    given = parser.parse_args()
    console = Console(highlight=False)
    if not engine.guided():
        console.print("atheris has no release for this Python: nothing would follow the coverage")
        sys.exit(2)
    if given.afresh:
        shutil.rmtree(FOLDER, ignore_errors=True)
    soak = Soak(FOLDER, given.names or target.names(), given.inputs, console)
    soak.run(time.monotonic() + given.minutes * 60)
    costs = soak.costs()
    found = figures(soak.done, costs, given.inputs)
    met = bench.show(found, console)
    if not given.names:
        path = write(found, soak.done)
        today = datetime.date.today().isoformat()
        text = f"On {today}:\n\n{markdown(found, soak.done, costs)}"
        bench.document(bench.DOCUMENT, SECTION, text)
        console.print(f"written to {path} and {bench.DOCUMENT}")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
