"""Stage firmware on FAT, and cut the power at every operation of the flash under it.

FAT overwrites its table and its directories in place, so a cut during such a write can destroy the
whole volume or a folder: the download then starts over, or the board reports `fail -5`. The board
must still start and be reachable, and only correct bytes may ever be handed over.
"""

from __future__ import annotations

import collections
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from ivota_tools.sim import Operation

from .bench import Bench, Said, is_final
from .cuts import KINDS, Cut, Images, Known, Recording, after, record
from .processes import processes
from .scenario import Scenario
from .stage import Stage, stage

INTERVAL = 65_536  # bytes, after which a download is made durable on FAT
SCENARIO = Scenario(
    "fat", storage="fat", payload="file", bundle=False, size=3 * INTERVAL + 5_000, fat=96
)


@dataclass
class Outcome:
    """The results of one kind of cut: states, how many of them resumed within an interval, started
    over, failed with -5, or ended with an error; `lost` in bytes, for those that resumed."""

    states: int = 0
    resumed: int = 0
    afresh: int = 0
    failed: int = 0
    lost: int = 0
    wrong: list[str] = field(default_factory=list)


def play(folder: Path) -> tuple[Stage, Recording]:
    """Run the update undisturbed. Raises RuntimeError if that fails already."""
    made = stage(SCENARIO, folder / "making")
    with Bench(folder / "bench", made) as bench:
        recording = record(bench, made.image, Known())
    if found := wrong(made, after(Known(), recording.run), recording.run.ended):
        raise RuntimeError(f"fat undisturbed: {found}\n" + "\n".join(recording.run.lines))
    return made, recording


def places(made: Stage, recording: Recording) -> list[int]:
    """Return the operations on FAT, from the first report to the end."""

    def counts(operation: Operation) -> bool:
        return operation.block >= made.blocks and operation.received >> 20 > 0

    return [at for at, each in enumerate(recording.operations) if counts(each)]


def wrong(made: Stage, known: Known, ended: str) -> str:
    """Return what must not happen, in words, or ""."""
    if ended != "settled":
        return ended
    checked = False
    last = ""
    for event in known.events:
        if isinstance(event, str):
            if event != made.plan["md5sum"]:
                return f"the application got bytes with the MD5 {event}"
            checked = True
        elif isinstance(event, Said) and is_final(event.report, ""):
            progress = event.report["report"]["progress"]
            last = progress["state"]
            if last == "fail" and not is_flash(progress):
                return f"fail {progress['result_code']} {progress['result_msg']}"
            if last == "done" and not checked:
                return "done before the application had it"
    return "" if last else "the cloud has no final report"


def is_flash(progress: dict[str, Any]) -> bool:
    """Return whether a failure names the cause: the volume is damaged."""
    text: str = progress["result_msg"]
    # A damaged table may mark every cluster as used.
    return progress["result_code"] == "-5" and text.startswith(("flash: ", "not enough space: "))


def _has_failed(known: Known) -> bool:
    return any(
        isinstance(event, Said)
        and is_final(event.report, "")
        and event.report["report"]["progress"]["state"] == "fail"
        for event in known.events
    )


def cut(made: Stage, recording: Recording, bench: Bench, cuts: list[Cut]) -> dict[str, Outcome]:
    """Make each of these cuts, equal states only once; return the results by kind."""
    found: dict[str, Outcome] = collections.defaultdict(Outcome)
    seen = set()
    for each, image, digest in Images(recording).each(cuts):
        known = recording.known_at(each.at)
        state = digest, known.have, known.satisfied(SCENARIO)
        if state in seen:
            continue
        seen.add(state)
        bench.load(image)
        run = bench.run(known.satisfied(SCENARIO), known.have)
        outcome = found[each.kind]
        outcome.states += 1
        then = after(known, run)
        if text := wrong(made, then, run.ended):
            outcome.wrong.append(f"fat/{each}: {text}")
        elif _has_failed(then):
            outcome.failed += 1
        elif run.again > INTERVAL:
            outcome.afresh += 1
        else:
            outcome.resumed += 1
            outcome.lost = max(outcome.lost, run.again)
    return dict(found)


def everything(folder: Path) -> dict[str, Outcome]:
    """Make every kind of cut at every operation on FAT, in two processes."""
    made, recording = play(folder)
    found = places(made, recording)
    halves = found[: len(found) // 2], found[len(found) // 2 :]
    shares = [
        (made, recording, folder / f"fat-{n}", [Cut(kind, at) for at in half for kind in KINDS])
        for n, half in enumerate(halves)
    ]
    with processes(len(shares)) as pool:
        results = list(pool.map(_share, *zip(*shares, strict=True)))
    whole: dict[str, Outcome] = {}
    for kind in KINDS:
        some = [result[kind] for result in results if kind in result]
        whole[kind] = Outcome(
            sum(each.states for each in some),
            sum(each.resumed for each in some),
            sum(each.afresh for each in some),
            sum(each.failed for each in some),
            max(each.lost for each in some),
            [text for each in some for text in each.wrong],
        )
    return whole


def again(folder: Path, text: str, console: Console) -> int:
    """Replay one cut, and print the board's output; return 1 if anything is wrong."""
    made, recording = play(folder)
    found = Cut.parse(text)
    image, _ = Images(recording).cut(found)
    known = recording.known_at(found.at)
    with Bench(folder / "again", made) as bench:
        bench.load(image)
        run = bench.run(known.satisfied(SCENARIO), known.have)
    for line in run.lines:
        console.print(line, markup=False, soft_wrap=True)
    ended = wrong(made, after(known, run), run.ended)
    console.print(ended or f"fat/{text}: nothing is wrong", markup=False)
    return int(bool(ended))


def _share(made: Stage, recording: Recording, folder: Path, cuts: list[Cut]) -> dict[str, Outcome]:
    with Bench(folder, made) as bench:
        return cut(made, recording, bench, cuts)
