"""Find what is wrong after a failing, full or damaged flash; judge.py judges power cuts."""

from __future__ import annotations

from littlefs import LittleFSError

from ivota_tools.sim.filesystem import FlashError, tree

from .bench import LATE, Run, Said
from .cuts import Known
from .judge import NEW_STEM, versions
from .reports import Finding, untrue
from .scenario import FACTORY, NEW
from .stage import Stage


def after_errors(
    stage: Stage, undisturbed: dict[str, bytes], known: Known, run: Run, image: bytes
) -> list[Finding]:
    """Return all problems after a flash that failed, or was full, works again.

    The update may have failed, with -5, or succeeded. A version that cannot be read is replaced by
    the previous one, and in the end by the factory package.
    """
    if run.ended != "settled":
        return [Finding("bricks" if run.brick else "unfinished", run.ended)]
    found, last = untrue(known, run, ("-5",))
    runs = (versions(run) or [FACTORY])[-1]
    if (runs == NEW) != (last == "done"):
        found.append(Finding("bricks", f"{runs} runs after {last}"))
    try:
        files = tree(image, stage.blocks)
    except (FlashError, LittleFSError) as error:
        return [*found, Finding("bricks", str(error))]
    for path, data in files.items():
        # Unfinished files may remain if the flash could not remove them.
        begun = last == "fail" and path.startswith(NEW_STEM)
        if (
            path in undisturbed
            and path[-5:] != ".json"
            and not begun
            and data != undisturbed[path]
        ):
            found.append(Finding("wrong_bytes", f"{path} has other bytes"))
    return found


def after_damage(stage: Stage, known: Known, run: Run, image: bytes) -> list[Finding]:
    """Return all problems after bits of one of the package's files were flipped.

    Some version runs and the cloud knows which; it is the new one only if it equals the pushed
    one. If the state is lost in a trial, the only report of the new version may be that it runs.
    """
    new = (versions(run) or [FACTORY])[-1] == NEW
    said = [event for event in (*known.events, *run.events) if isinstance(event, Said)]
    heard = bool(said) and said[-1].report["report"]["version"] == NEW
    if run.ended != "settled" and not (run.ended == LATE and new and heard):
        return [Finding("bricks" if run.brick else "unfinished", run.ended)]
    found, _ = untrue(known, run, ("-5", "-4"))
    try:
        files = tree(image, stage.blocks)
    except (FlashError, LittleFSError) as error:
        return [*found, Finding("bricks", str(error))]
    scenario = stage.scenario
    if new and not scenario.slots and files.get(scenario.new_file) != stage.result:
        found.append(Finding("wrong_bytes", f"{NEW} runs with other bytes"))
    return found
