"""`make bench-peers`: compare other downloaders with ours; write build/bench/ and docs/."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from rich.console import Console

from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.common import atomic_write
from ivota_tools.sim.filesystem import BLOCK

from ..figures import DOCUMENT, FOLDER, Figure, document, read, write
from ..steps import steps
from . import cost
from .cases import CASES
from .run import Run, broker, run
from .table import Runs, costs, figures_of, outcomes
from .ways import WAYS, Way

AREA = "peers"
COMMAND = "make bench-peers"
RUNS = FOLDER / "peers-runs.json"  # of each case, with the bytes on flash over time
# Cases that mostly wait run in parallel; those that are plotted run separately.
TOGETHER = (("end_64k", "reset_64k"), ("good", "plain"), ("whole_answer", "power"))


def groups() -> list[Sequence[str]]:
    """Return the names of the cases, grouped by what runs in parallel."""
    named = {name for names in TOGETHER for name in names}
    return [*TOGETHER, [case.name for case in CASES if case.name not in named]]


def measure_cases(port: int, ways: Sequence[Way], step: Callable[[str], None]) -> Runs:
    """Measure each of these downloaders in every case."""
    by_name = {case.name: case for case in CASES}
    found = {}
    for names in groups():
        step(", ".join(by_name[name].title for name in names))
        pairs = [(by_name[name], way) for name in names for way in ways]
        with ThreadPoolExecutor(len(pairs)) as pool:
            done = pool.map(lambda pair: run(pair[1], pair[0], port), pairs)
            found.update({(each.case, each.way): each for each in done})
    return found


def keep(runs: Runs) -> None:
    atomic_write.write(RUNS, json.dumps([asdict(each) for each in runs.values()]) + "\n")


def kept() -> Runs:
    entries = [Run(**entry) for entry in json.loads(RUNS.read_text())]
    return {(each.case, each.way): each for each in entries}


def measure_costs(
    listener: Broker, runs: Runs, ways: Sequence[Way], step: Callable[[str], None]
) -> dict[str, Figure]:
    found: dict[str, Figure] = {}
    for way in ways:
        step(f"what {way.label} costs")
        good = runs["good", way.name]
        found |= {
            f"heap_bytes_min_32bit_{way.name}": Figure(cost.heap(way, listener), "", "bytes"),
            f"erases_per_block_{way.name}": Figure(
                round(good.erases / -(-good.size // BLOCK), 3), "", "erases"
            ),
            f"instructions_per_byte_{way.name}": Figure(
                round(cost.instructions(way, listener), 2), "", "instructions/byte"
            ),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m ivota_workshop.bench.{AREA}")
    parser.add_argument(
        "--draw", action="store_true", help="measure nothing: write what was measured last anew"
    )
    parser.add_argument(
        "--only",
        choices=[way.name for way in WAYS],
        action="append",
        help="measure this way, and keep what was measured of the others",
    )
    given = parser.parse_args()
    from . import plots  # needs matplotlib: fail before measuring if it is missing

    console = Console()
    ways = [way for way in WAYS if not given.only or way.name in given.only]
    again = given.draw or given.only
    runs, figures = (kept(), read(AREA)) if again else ({}, {})
    if not given.draw:
        with broker() as listener, steps(console, len(groups()) + len(ways)) as step:
            runs = {**runs, **measure_cases(listener.port, ways, step)}
            figures |= figures_of(runs) | measure_costs(listener, runs, ways, step)
        keep(runs)
        write(AREA, COMMAND, figures)
    parts = [plots.flash(runs), outcomes(runs), plots.costs(figures), costs(figures)]
    document(DOCUMENT, AREA, "\n\n".join(parts))
    console.print(f"written to {FOLDER / AREA}.json and {DOCUMENT}")
    missed = {name: figure for name, figure in figures.items() if not figure.met}
    for name, figure in missed.items():
        console.print(f"missed: {name} is {figure.value:g}, was to be {figure.goal}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
