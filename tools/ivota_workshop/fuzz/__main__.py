"""`python -m ivota_workshop.fuzz push`: fuzz the named parsers, or all of them.

A crash is stored in build/fuzz/NAME/, and `--input FILE` replays it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ivota_tools.common.project_files import CHECKOUT

from . import engine, target, worlds

FOLDER = CHECKOUT / "build" / "fuzz"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ivota_workshop.fuzz")
    parser.add_argument("names", nargs="*", metavar="NAME", help="all of them without one")
    parser.add_argument("--runs", type=int, default=20_000, help="inputs for each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0, help="for each, at most")
    parser.add_argument("--mistake", type=int, help="with this planted fault in the code")
    parser.add_argument("--input", type=Path, help="this one input, and nothing more")
    parser.add_argument("--list", action="store_true", help="what there is")
    given = parser.parse_args()
    console = Console(highlight=False)
    unknown = sorted(set(given.names) - set(target.names()))
    if unknown:
        parser.error(f"no parser is called {unknown[0]}; there are {', '.join(target.names())}")
    names = given.names or target.names()
    if given.list:
        table = Table("parser", "runs on", "what it reads", "planted faults")
        for name, found in target.targets().items():
            where = "board" if found.device else "host"
            table.add_row(name, where, found.about, "; ".join(m.name for m in found.mistakes))
        console.print(table)
        return
    if given.input:
        found = target.load(names[0])
        mistake = None if given.mistake is None else found.mistakes[given.mistake]
        data = given.input.read_bytes()
        console.print(worlds.check_of(names[0], found, mistake)(data), markup=False)
        return
    if not engine.guided():
        console.print("atheris is not installed: nothing follows the coverage (docs/security.md)")
    crashes = 0
    for name in names:
        work = FOLDER / name
        outcome = engine.run(name, given.runs, given.seed, work, given.mistake, given.seconds)
        said = f"{name}: {outcome.inputs:,} inputs in {outcome.seconds:.0f} s"
        if outcome.crash is not None:
            crashes += 1
            said += f", {outcome.why}\n  {outcome.crash[:300]!r}\n  kept in {work}"
        console.print(said, markup=False, soft_wrap=True)
    sys.exit(1 if crashes else 0)


if __name__ == "__main__":
    main()
