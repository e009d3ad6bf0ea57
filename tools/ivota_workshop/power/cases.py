"""Run one case: a board on the flash left by a cut, a failure or damage, and the verdict."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable
from dataclasses import dataclass, field

from littlefs import LittleFS, LittleFSError

from ivota_tools.sim import Fault
from ivota_tools.sim.filesystem import BLOCK, edited, tree

from . import aftermath, judge
from .bench import HANG_S, Bench, Run, Said
from .cuts import AFTER, KINDS, Cut, Images, Known, after, record
from .played import Played
from .reports import Finding

CUTS = 5  # of a random run
_KEPT = ("/ivota-", "/firmware/")  # paths that the package writes
_FILLER = "/full.bin"
_FAILING_S = 3  # time limit of a start of a board with a failing flash


@dataclass
class Result:
    """The result of one case. `case` replays it; `cell` is where it counts; `lost` is in bytes."""

    case: str
    cell: tuple[str, str, str, str]
    sort: str  # "single", "double", "between", "random", "armed", "error", "full", "flip"
    faults: list[Finding] = field(default_factory=list)
    lost: int = 0
    lost_most: int | None = None  # the limit for `lost`, if there is one
    digest: bytes = b""  # of the state at the start
    cuts: int = 1
    log: list[str] = field(default_factory=list)  # if anything is wrong


def replay(played: Played, bench: Bench, case: str) -> Result:
    """Run one case again, by its id; its log is always kept. Raises ValueError."""
    text = case.partition("/")[2]
    sort, found, rest = text.partition(":")
    if found and sort == "random":
        result = random_run(played, bench, int(rest), True)
    elif found and sort == "starts":
        first, _, again = rest.partition(":")
        result = starts(played, bench, int(first), int(again), True)
    elif found and sort == "armed":
        result = armed(played, bench, Cut.parse(rest), True)
    elif found and sort == "full":
        result = full(played, bench, Cut.parse(rest), True)
    elif found and sort == "flip":
        seed, _, cut_text = rest.partition(":")
        flipped = flip(played, bench, Cut.parse(cut_text), int(seed), True)
        if not flipped:
            raise ValueError(f"no file is kept there: {case}")
        result = flipped
    elif found and sort == "error":
        on, _, at = rest.partition("@")
        result = failing(played, bench, Fault("error", int(at), on), True)
    else:
        cuts = tuple(Cut.parse(each) for each in text.split("+"))
        recording = played.recording
        for cut in cuts[:-1]:
            image, _ = Images(recording).cut(cut)
            recording = record(bench, bytes(image), recording.known_at(cut.at))
        image, _ = Images(recording).cut(cuts[-1])
        result = complete(played, bench, cuts, image, recording.known_at(cuts[-1].at), True)
    return result


def cell(played: Played, cut: Cut, name: str | None = None) -> tuple[str, str, str, str]:
    scenario = played.stage.scenario
    return cut.kind, scenario.storage, scenario.payload, name or scenario.name


def complete(
    played: Played,
    bench: Bench,
    cuts: tuple[Cut, ...],
    image: bytes | bytearray,
    known: Known,
    keep_log: bool = False,
) -> Result:
    """Start a board on the flash that the last cut has left, and run it to the end."""
    stage = played.stage
    name = stage.scenario.name
    case = f"{name}/" + "+".join(map(str, cuts))
    double = len(cuts) > 1
    where = cell(played, cuts[-1], f"{name} twice" if double else None)
    sort = "double" if double else "between" if cuts[0].kind == AFTER else "single"
    result = Result(case, where, sort)
    bench.load(image)
    run = _to_the_end(played, bench, known)
    result.faults = judge.at_cut(stage, known, image)
    _judge(result, played, known, run)
    if keep_log or result.faults:
        result.log = run.lines
    return result


def _to_the_end(played: Played, bench: Bench, known: Known) -> Run:
    """Run undisturbed, and examine the end."""

    def examine(run: Run, image: bytes) -> list[Finding]:
        return judge.in_the_end(played.stage, played.files, run, image)

    return bench.run(known.satisfied(played.stage.scenario), known.have, examine=examine)


def _judge(result: Result, played: Played, known: Known, run: Run) -> None:
    result.lost = max(result.lost, run.again)
    result.faults += judge.what_was_said(played.stage, known, run) + run.wrong
    most = result.lost_most = judge.loss_most(played.stage.scenario)
    if most is not None and result.lost > most:
        result.faults.append(Finding("lost", f"{result.lost} bytes were fetched again"))


def armed(played: Played, bench: Bench, cut: Cut, keep_log: bool = False) -> Result:
    """Make a board die at that operation: flash and cloud must be as after the same cut."""
    stage = played.stage
    result = Result(f"{stage.scenario.name}/armed:{cut}", cell(played, cut), "armed")
    bench.load(stage.image)
    run = bench.run(False, fault=cut.fault())
    image, _ = Images(played.recording).cut(cut)
    known = played.recording.known_at(cut.at)
    if run.ended != "died":
        result.faults.append(Finding("differs", f"the board {run.ended}"))
    elif bench.image() != image:
        result.faults.append(Finding("differs", "the flash is another"))
    elif (_said(run.events), run.have) != (_said(known.events), known.have):
        result.faults.append(Finding("differs", "the cloud knows something else"))
    result.log = run.lines if result.faults or keep_log else []
    return result


def failing(played: Played, bench: Bench, fault: Fault, keep_log: bool = False) -> Result:
    """Run on a flash on which one kind of operation fails, until the next power-on."""
    stage = played.stage
    name = stage.scenario.name
    where = (fault.on, stage.scenario.storage, stage.scenario.payload, name)
    result = Result(f"{name}/error:{fault.on}@{fault.at}", where, "error")
    bench.load(stage.image)
    # A boot loader that finds nothing to boot hangs, so cut the power.
    bench.hang_s = _FAILING_S
    run = bench.run(False, fault=fault)
    bench.hang_s = HANG_S
    known = after(Known(), run)
    log = run.lines
    bench.load(bench.image())
    run = bench.run(known.satisfied(stage.scenario), known.have)
    result.faults = aftermath.after_errors(stage, played.files, known, run, bench.image())
    if keep_log or result.faults:
        result.log = [*log, "-- the flash works again", *run.lines]
    return result


def full(played: Played, bench: Bench, cut: Cut, keep_log: bool = False) -> Result:
    """After a cut, let other data fill the file system until the next power-on."""
    stage = played.stage
    result = Result(f"{stage.scenario.name}/full:{cut}", cell(played, cut), "full")
    image, _ = Images(played.recording).cut(cut)
    known = played.recording.known_at(cut.at)
    with edited(image, stage.blocks) as (system, image):
        _fill(system)
    bench.load(image)
    run = bench.run(known.satisfied(stage.scenario), known.have)
    if run.brick:
        result.faults.append(Finding("bricks", run.ended))
    log = run.lines
    known = after(known, run)
    with edited(bench.image(), stage.blocks) as (system, image):
        system.remove(_FILLER)
    bench.load(image)
    run = bench.run(known.satisfied(stage.scenario), known.have)
    result.faults += aftermath.after_errors(stage, played.files, known, run, bench.image())
    if keep_log or result.faults:
        result.log = [*log, "-- there is room again", *run.lines]
    return result


def _fill(system: LittleFS) -> None:
    # Fill it block by block, because littlefs reverts a whole write that does not fit.
    with contextlib.suppress(LittleFSError):
        system.open(_FILLER, "wb").close()
        while True:
            with system.open(_FILLER, "ab") as file:
                file.write(bytes(BLOCK))


def flip(
    played: Played, bench: Bench, cut: Cut, seed: int, keep_log: bool = False
) -> Result | None:
    """After a cut, flip one bit of a file that the package keeps, selected by the seed.

    Returns None if there is no such file yet.
    """
    stage = played.stage
    result = Result(f"{stage.scenario.name}/flip:{seed}:{cut}", cell(played, cut), "flip")
    image, _ = Images(played.recording).cut(cut)
    known = played.recording.known_at(cut.at)
    files = tree(image, stage.blocks)
    kept = [path for path in sorted(files) if path.startswith(_KEPT) and files[path]]
    if not kept:
        return None
    chance = random.Random(f"{seed} {cut}")
    path = chance.choice(kept)
    bit = chance.randrange(len(files[path]) * 8)
    data = bytearray(files[path])
    data[bit // 8] ^= 1 << bit % 8
    with edited(image, stage.blocks) as (system, image), system.open(path, "wb") as file:
        file.write(bytes(data))
    bench.load(image)
    run = bench.run(known.satisfied(stage.scenario), known.have)
    result.faults = aftermath.after_damage(stage, known, run, bench.image())
    if keep_log or result.faults:
        result.log = [f"-- bit {bit} of {path} is flipped", *run.lines]
    return result


def _said(events: Iterable[str | Said]) -> list[Said]:
    return [event for event in events if isinstance(event, Said)]


def random_run(played: Played, bench: Bench, seed: int, keep_log: bool = False) -> Result:
    """Cut up to five times in a row at random operations, then run undisturbed to the end.

    The cuts are often close together, so that all hit the same part of an update.
    """
    chance = random.Random(f"{played.stage.scenario.name} {seed}")
    total = len(played.recording.operations)
    near = chance.choice((4, 20, max(total // 5, 2)))
    cuts = [
        Cut(chance.choice(KINDS), chance.randrange(near if n else total), seed)
        for n in range(CUTS)
    ]
    return _in_a_row(played, bench, f"random:{seed}", cuts, keep_log)


def starts(played: Played, bench: Bench, first: int, again: int, keep_log: bool = False) -> Result:
    """Cut the power at operation `first`, then at operation `again` of each of four starts."""
    cuts = [Cut("die", first)] + [Cut("die", again)] * (CUTS - 1)
    return _in_a_row(played, bench, f"starts:{first}:{again}", cuts, keep_log)


def _in_a_row(played: Played, bench: Bench, case: str, cuts: list[Cut], keep_log: bool) -> Result:
    stage = played.stage
    result = Result(f"{stage.scenario.name}/{case}", cell(played, Cut("die", 0)), "random", cuts=0)
    bench.load(stage.image)
    known, log = Known(), list[str]()
    for cut in cuts:
        run = bench.run(known.satisfied(stage.scenario), known.have, fault=cut.fault())
        result.lost = max(result.lost, run.again)
        log += [*run.lines, f"-- {cut}: {run.ended}"]
        if run.ended != "died":
            break
        result.cuts += 1
        known = after(known, run)
        image = bench.image()
        result.faults += judge.at_cut(stage, known, image)
        bench.load(image)
    if result.cuts == CUTS:
        run = _to_the_end(played, bench, known)
    else:
        run.wrong = judge.in_the_end(stage, played.files, run, bench.image())
    _judge(result, played, known, run)
    if keep_log or result.faults:
        result.log = log + run.lines
    return result
