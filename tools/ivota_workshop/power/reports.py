"""Compare the reports of an update with the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .bench import Run, is_final
from .cuts import Known
from .scenario import NEW, Scenario

SORTS = ("bricks", "wrong_bytes", "false_reports", "unfinished", "lost")


@dataclass(frozen=True)
class Finding:
    """A violation: its kind, and a description."""

    sort: str
    text: str


def reports(scenario: Scenario, known: Known) -> list[Finding]:
    """Return the false reports that the cloud received, in order of time."""
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
            # The header says what a patch makes, so it must be fetched to be rejected again.
            if last and not (scenario.patch and last == "fail"):
                wrong.append(f"{state} after {last}")
            continue
        why = f"{state} {progress['result_code']} {progress['result_msg']}"
        if scenario.again and scenario.again in why and not last:
            if event.running == new or new not in known.events:
                wrong.append(f"{why}, {event.running} runs")
            continue
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
    found = [Finding("false_reports", text) for text in wrong]
    if not last:
        found.append(Finding("unfinished", "the cloud has no final report"))
    return found


def untrue(known: Known, run: Run, codes: Sequence[str]) -> tuple[list[Finding], str]:
    """Return the reports that were untrue at the time, and the last final state."""
    found = []
    last = ""
    for event in (*known.events, *run.events):
        if isinstance(event, str):
            continue
        version = event.report["report"]["version"]
        if event.report["type"] == "report_version":
            if version != event.running:
                found.append(Finding("false_reports", f"{version} is reported"))
        elif is_final(event.report, ""):
            progress = event.report["report"]["progress"]
            last = progress["state"]
            if last == "done" and event.running != NEW:
                found.append(Finding("false_reports", f"done, {event.running} runs"))
            if last == "fail" and (progress["result_code"] not in codes or event.running == NEW):
                found.append(Finding("false_reports", f"fail: {progress}, {event.running} runs"))
    return found, last
