"""Find what is wrong after a power cut, judged from outside: the flash, and the reports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from littlefs import LittleFSError

from ivota_tools.sim import otadata
from ivota_tools.sim.filesystem import BLOCK, FlashError, read, tree

from .bench import Run, Said, is_final
from .cuts import Known, after
from .reports import Finding, reports
from .scenario import FACTORY, NEW, Scenario
from .stage import Stage

# A power cut may change these in the state file: counters unrelated to the running version.
_FREE_KEYS = ("worn_until", "starts", "power_boots", "armed", "crc")
_TRIES = ("failures", "tries")  # the same if an image was rolled back
# Bytes that are fetched again after a cut: one block, or one interval.
LOSS_MOST = {"littlefs": BLOCK, "partition": 16 * BLOCK}
_OLD_SLOT, _NEW_SLOT = otadata.LABELS
_STATE = "/ivota-state.json"
NEW_STEM = f"/firmware/{NEW}."


def judge(
    stage: Stage, undisturbed: dict[str, bytes], known: Known, run: Run, image: bytes
) -> list[Finding]:
    """Return all problems of a run to the end, after the last of its power cuts.

    `undisturbed`: the files that an update without a cut leaves. `known`: what the cloud knew
    before this run. `image`: the flash after it.
    """
    return what_was_said(stage, known, run) + in_the_end(stage, undisturbed, run, image)


def what_was_said(stage: Stage, known: Known, run: Run) -> list[Finding]:
    """Return what is wrong with the end of a run, and with all reports."""
    if run.ended != "settled":
        return [Finding("bricks" if run.brick else "unfinished", run.ended)]
    return reports(stage.scenario, after(known, run))


def in_the_end(
    stage: Stage, undisturbed: dict[str, bytes], run: Run, image: bytes
) -> list[Finding]:
    """Return what is wrong with the final flash, and with the version that runs on it."""
    if run.ended != "settled":
        return []
    scenario = stage.scenario
    found = _last_start(scenario, run)
    try:
        files = tree(image, stage.blocks)
        found += _files(scenario, undisturbed, files)
        runs = scenario.new_file
        if scenario.last == NEW and not scenario.slots and files.get(runs) != stage.result:
            found.append(Finding("wrong_bytes", f"{runs} is not what was pushed"))
    except (FlashError, LittleFSError) as error:
        found.append(Finding("bricks", str(error)))
    return found + (_slots(stage, image) if scenario.slots else [])


def _slots(stage: Stage, image: bytes) -> list[Finding]:
    """Return what is wrong with an ESP32's slots."""
    done = stage.scenario.ends == "done"
    faults = []
    boots = _boots(stage, image)
    if boots != ((_NEW_SLOT if done else _OLD_SLOT), otadata.VALID):
        faults.append(Finding("bricks", f"otadata has {boots}"))
    first = (stage.blocks + 2) * BLOCK
    second = first + stage.scenario.slots * BLOCK
    if image[first:second] != stage.image[first:second]:
        faults.append(Finding("wrong_bytes", f"{_OLD_SLOT} has other bytes"))
    if done and image[second : second + len(stage.result)] != stage.result:
        faults.append(Finding("wrong_bytes", f"{_NEW_SLOT} has other bytes"))
    return faults


def _boots(stage: Stage, image: bytes | bytearray) -> tuple[str, int]:
    """Return the slot that otadata selects, and its state."""
    first = stage.blocks * BLOCK
    entries = [otadata.parse(bytes(image[at : at + BLOCK])) for at in (first, first + BLOCK)]
    active = otadata.active(entries)
    # Without a valid entry the first slot boots, as on a chip from the factory.
    return (active.slot, active.state) if active else (_OLD_SLOT, otadata.VALID)


def loss_most(scenario: Scenario) -> int | None:
    """Return the maximum number of lost bytes, or None if they are not limited."""
    # Rejected firmware is removed before the rejection is stored: after a cut in between, all of
    # it is fetched again. So is a patch whose result was given up, because only its header says
    # so.
    again = scenario.refused or scenario.patch and scenario.ends == "fail"
    return None if again else LOSS_MOST[scenario.storage]


def at_cut(stage: Stage, known: Known, image: bytes | bytearray) -> list[Finding]:
    """Return what the flash lacks at the instant of a cut although the cloud was told so."""
    said = {
        event.report["report"]["progress"]["state"]
        for event in known.events
        if isinstance(event, Said) and is_final(event.report, stage.scenario.again)
    }
    if not said:
        return []
    try:
        state = _state(read(image, stage.blocks, _STATE))
    except (FlashError, LittleFSError, FileNotFoundError):
        return [Finding("bricks", "no state is left")]
    if state.get("trial"):
        return [Finding("false_reports", f"{said} was said in a trial")]
    if stage.scenario.slots:
        boots = _boots(stage, image)
        right = {"done": (_NEW_SLOT, otadata.VALID), "fail": (_OLD_SLOT, otadata.VALID)}
        return [
            Finding("false_reports", f"{each} was said, otadata has {boots}")
            for each in said
            if boots != right[each]
        ]
    runs = stage.scenario.new_file
    if "done" in said and state.get("active") != runs:
        return [Finding("false_reports", f"done was said, {state.get('active')} is active")]
    if "fail" in said and state.get("active") == runs:
        return [Finding("false_reports", f"fail was said, {runs} is active")]
    return []


def versions(run: Run) -> list[str]:
    """Return the versions that the last start reports."""
    begin = max(n for n, line in enumerate(run.lines) if line.startswith("-- start"))
    return [
        line[5:] for line in run.lines[begin:] if line.startswith("app: ") and line[5:6].isdigit()
    ]


def _last_start(scenario: Scenario, run: Run) -> list[Finding]:
    begin = max(n for n, line in enumerate(run.lines) if line.startswith("-- start"))
    lines = run.lines[begin:]
    found = []
    runs = versions(run)
    if (runs or [FACTORY]) != [scenario.last]:
        found.append(Finding("bricks", f"in the end {runs} runs, not {scenario.last}"))
    if scenario.proof and scenario.proof not in lines:
        found.append(Finding("bricks", "the new version's package does not run"))
    return found


def _files(
    scenario: Scenario, expected: dict[str, bytes], found: dict[str, bytes]
) -> list[Finding]:
    faults = []
    # A small file whose rename was lost is read under this name, as if it had been renamed.
    found = {
        path[:-1] if path[-1] == "~" and path[:-1] not in found else path: data
        for path, data in found.items()
    }
    free: tuple[str, ...] = _TRIES if scenario.again else ()
    if scenario.patch and scenario.ends == "fail" and not scenario.refused:
        # After the second push, the patch is fetched and rejected again, and removed with its
        # result. If the power fails during that, the cloud already has the report and does not
        # push a third time.
        free += ("rejected", "sums")
        begun = NEW_STEM, _STATE + "~"
        expected, found = (
            {path: data for path, data in each.items() if not path.startswith(begun)}
            for each in (expected, found)
        )
    for path in sorted(expected.keys() | found.keys()):
        if path not in found:
            faults.append(Finding("wrong_bytes", f"{path} is missing"))
        elif path not in expected:
            faults.append(Finding("wrong_bytes", f"{path} was left behind"))
        elif path == _STATE:
            confirmed = _state(found[path]).get("sequence", 0)
            if confirmed != scenario.confirmed:
                faults.append(Finding("wrong_bytes", f"number {confirmed} is confirmed"))
            if _state(found[path], free) != _state(expected[path], free):
                faults.append(Finding("wrong_bytes", f"the state is {found[path].decode()}"))
        elif found[path] != expected[path]:
            faults.append(Finding("wrong_bytes", f"{path} has other bytes"))
    return faults


def _state(data: bytes, free: Sequence[str] = ()) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads(data)
    except ValueError:
        return {"damaged": data}
    for entry in state.get("rejected", ()):
        entry[1] = entry[1].partition(" (after ")[0]  # ignore what was tried before the rejection
    return {key: value for key, value in state.items() if key not in (*_FREE_KEYS, *free)}
