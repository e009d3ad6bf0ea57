"""What is wrong after a power cut, judged from outside: the flash, and what the cloud was told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from littlefs import LittleFSError

from ..sim.flash import BLOCK, FlashError
from .bench import Run, Said, is_final
from .cuts import Known, after
from .scenario import NEW, Scenario, Stage, tree

# What a power cut may change in the state file: counters that say nothing of what runs.
_FREE_KEYS = ("worn_until", "starts", "power_boots", "crc")
# Bytes that are fetched again after a cut: one block, one interval.
LOSS_MOST = {"littlefs": BLOCK, "partition": 16 * BLOCK}
_STATE = "/ivota-state.json"
SORTS = ("bricks", "wrong_bytes", "false_reports", "unfinished", "lost")


@dataclass(frozen=True)
class Fault:
    """Something that must not be: of which sort, and in words."""

    sort: str
    text: str


def judge(
    stage: Stage, undisturbed: dict[str, bytes], known: Known, run: Run, image: bytes
) -> list[Fault]:
    """All that is wrong with a run to the end after the last of its power cuts.

    `undisturbed`: the files as an update without a cut leaves them. `known`: what the cloud knew
    before this run. `image`: the flash after it.
    """
    if run.ended != "settled":
        return [Fault("bricks" if run.brick else "unfinished", run.ended)]
    scenario = stage.scenario
    found = reports(scenario, after(known, run))
    found += _last_start(scenario, run)
    try:
        found += _files(undisturbed, tree(image, stage.blocks))
    except (FlashError, LittleFSError) as error:
        found.append(Fault("bricks", str(error)))
    return found


def loss_most(scenario: Scenario) -> int | None:
    """How many they may be; None where that is not judged."""
    # What is refused is removed before that is noted: after a cut in between it is fetched anew.
    return None if scenario.damaged else LOSS_MOST[scenario.storage]


def at_cut(stage: Stage, known: Known, image: bytes | bytearray) -> list[Fault]:
    """What the flash does not hold in the instant of a cut although the cloud was told so."""
    said = {
        event.report["report"]["progress"]["state"]
        for event in known.events
        if isinstance(event, Said) and is_final(event.report, NEW)
    }
    if not said:
        return []
    try:
        state = _state(tree(image, stage.blocks)[_STATE])
    except (FlashError, LittleFSError, KeyError):
        return [Fault("bricks", "no state is left")]
    runs = f"/firmware/{NEW}.bin"
    if state.get("trial"):
        return [Fault("false_reports", f"{said} was said in a trial")]
    if "done" in said and state.get("active") != runs:
        return [Fault("false_reports", f"done was said, {state.get('active')} is active")]
    if "fail" in said and state.get("active") == runs:
        return [Fault("false_reports", f"fail was said, {runs} is active")]
    return []


def reports(scenario: Scenario, known: Known) -> list[Fault]:
    """What the cloud was told and was not so, in the order of time."""
    new, old = NEW, scenario.old
    wrong: list[str] = []
    last = ""
    for event in known.events:
        if isinstance(event, str):
            if last == "done" and event != new or last == "fail" and event == new:
                wrong.append(f"after {last} version {event} starts")
            continue
        kind, version = event.report["type"], event.report["report"]["version"]
        if kind == "report_version":
            if version != event.running:
                wrong.append(f"version {version} is reported, {event.running} runs")
            continue
        progress: dict[str, Any] = event.report["report"]["progress"]
        state = progress["state"]
        if version != new:
            wrong.append(f"{state} of {version}, which nobody pushed")
        if state not in ("done", "fail"):
            if last:
                wrong.append(f"{state} after {last}")
            continue
        why = f"{state} {progress['result_code']} {progress['result_msg']}"
        if last and state != last:
            wrong.append(f"{why} after {last}")
        last = state
        if state == "done" and event.running != new:
            wrong.append(f"done of {new}, {event.running} runs")
        if state == "fail" and event.running != old:
            wrong.append(f"fail of {new}, {event.running} runs")
        if state != scenario.ends:
            wrong.append(why)
        elif state == "fail" and (
            progress["result_code"] != "-5" or scenario.reason not in progress["result_msg"]
        ):
            wrong.append(why)
    found = [Fault("false_reports", text) for text in wrong]
    if not last:
        found.append(Fault("unfinished", "the cloud has no final report"))
    return found


def _last_start(scenario: Scenario, run: Run) -> list[Fault]:
    begin = max(n for n, line in enumerate(run.lines) if line.startswith("-- start"))
    lines = run.lines[begin:]
    found = []
    runs = [line[5:] for line in lines if line.startswith("app: ") and line[5:6].isdigit()]
    if (runs or [scenario.old]) != [scenario.last]:
        found.append(Fault("bricks", f"in the end {runs} runs, not {scenario.last}"))
    if scenario.proof and scenario.proof not in lines:
        found.append(Fault("bricks", "the new version's package does not run"))
    return found


def _files(expected: dict[str, bytes], found: dict[str, bytes]) -> list[Fault]:
    faults = []
    # A small file whose rename did not come about is read under this name, as if it had.
    found = {
        path[:-1] if path[-1] == "~" and path[:-1] not in found else path: data
        for path, data in found.items()
    }
    for path in sorted(expected.keys() | found.keys()):
        if path not in found:
            faults.append(Fault("wrong_bytes", f"{path} is missing"))
        elif path not in expected:
            faults.append(Fault("wrong_bytes", f"{path} was left behind"))
        elif path == _STATE:
            if _state(found[path]) != _state(expected[path]):
                faults.append(Fault("wrong_bytes", f"the state is {found[path].decode()}"))
        elif found[path] != expected[path]:
            faults.append(Fault("wrong_bytes", f"{path} has other bytes"))
    return faults


def _state(data: bytes) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads(data)
    except ValueError:
        return {"damaged": data}
    return {key: value for key, value in state.items() if key not in _FREE_KEYS}
