"""`make power`: cut the power at every operation of updates; write build/bench/power.json.

`make power CASE=…` replays one case, and prints its boards' output.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..bench import figures as bench
from ..bench.figures import Figure
from . import fat, figures
from .bench import Bench
from .campaign import Campaign, code, workplace
from .cases import Result, replay
from .faults import MISTAKES, Caught, catch_all
from .plan import QUICK, tasks
from .played import play
from .scenarios import scenarios
from .tally import Tally

AREA = "power"
COMMAND = "make power"
STATES = 5_000
_PROGRESS_S = 10


def again(case: str, console: Console) -> int:
    """Replay a case and print its boards' output; return 1 if anything is wrong with it."""
    name, _, text = case.partition("/")
    with workplace() as folder:
        if name == "fat":
            return fat.again(folder, text, console)
        played, wrong = play(scenarios()[name], folder)
        if wrong:
            for line in played.recording.run.lines:
                console.print(line, markup=False, soft_wrap=True)
            console.print(f"{name} undisturbed: {'; '.join(wrong)}", markup=False)
            return 1
        with Bench(folder / "again", played.stage) as bench:
            result = replay(played, bench, case)
    for line in result.log:
        console.print(line, markup=False, soft_wrap=True)
    for fault in result.faults:
        console.print(f"{fault.sort}: {fault.text}", style="red", markup=False)
    if not result.faults:
        console.print(f"{case}: nothing is wrong")
    return int(bool(result.faults))


def show_wrong(result: Result, console: Console) -> None:
    for fault in result.faults:
        console.print(f"{result.case}: {fault.sort}: {fault.text}", style="red", markup=False)


def everything(
    folder: Path, console: Console
) -> tuple[Tally, dict[str, fat.Outcome], list[Caught]]:
    started = shown = time.monotonic()
    before = code()
    campaign = Campaign(folder)
    todo = tasks(campaign.played, QUICK)
    tally = Tally()
    for n, (_, results) in enumerate(campaign.run(enumerate(todo)), 1):
        for result in results:
            tally.add(result)
            show_wrong(result, console)
        now = time.monotonic()
        if now - shown > _PROGRESS_S or n == len(todo):
            shown = now
            console.print(
                f"{now - started:4.0f} s  {n} of {len(todo)} shares, {tally.states:,} states, "
                f"{tally.randoms} random runs, {tally.wrong_cases} cases are wrong"
            )
    outcomes = fat.everything(folder)
    for outcome in outcomes.values():
        for text in outcome.wrong:
            console.print(text, style="red", markup=False)
    console.print(f"{time.monotonic() - started:4.0f} s  cuts on FAT are done")
    caught = catch_all(MISTAKES, campaign.played, folder)
    # If the code has changed, the change could be mistaken for the deliberate fault.
    if code() != before:
        raise RuntimeError("the code has changed in the meantime")
    table = Table("deliberate fault", "noticed in", "case no.", "as")
    for each in caught:
        table.add_row(each.name, each.case or "NOT NOTICED", str(each.cases), each.text[:60])
    console.print(table)
    console.print(f"{time.monotonic() - started:.0f} s in all")
    return tally, outcomes, caught


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ivota_workshop.power")
    parser.add_argument("--case", help="only this, with what its boards said")
    parser.add_argument("--document", action="store_true", help="write docs/power.md, too")
    given = parser.parse_args()
    console = Console(highlight=False)
    if given.case:
        sys.exit(again(given.case, console))
    with workplace() as folder:
        tally, outcomes, caught = everything(folder, console)
    found = figures.of(tally, STATES)
    found["armed_deaths"] = Figure(tally.armed, "", "cases")
    found["armed_differences"] = Figure(tally.faults["differs"], "== 0", "cases")
    found["deliberate_faults"] = Figure(len(caught), ">= 10", "faults")
    found["deliberate_faults_missed"] = Figure(
        sum(not each.case for each in caught), "== 0", "faults"
    )
    found |= figures.of_fat(outcomes)
    figures.show(tally, console, outcomes)
    met = bench.show(found, console)
    path = figures.write(AREA, COMMAND, found, tally, {})
    console.print(f"written to {path}")
    if given.document:
        bench.document(figures.DOCUMENT, AREA, figures.markdown(found, tally, outcomes))
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
