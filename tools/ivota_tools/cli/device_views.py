"""How the command line shows devices: tables, bars, or plain lines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from ..api_client import Json
from ..common.plain_text import plain
from .terminal import cell, titled_table
from .times import ago, date

STYLES = {"done": "green", "current": "green", "failed": "red", "retry": "yellow"}


FLOODED_S = 3600.0  # for so long a device's flood is named


def device_table(devices: list[Json]) -> Table:
    columns = "device", "runs", "target", "state", "%", "pushes", "seen", "why"
    table = titled_table("devices", *columns)
    for device in devices:
        # Text, never str: a device's words are not markup.
        table.add_row(
            cell(device["device"]),
            cell(device["version"] or "?"),
            cell(device["target"] or ""),
            _state(device) if device["status"] == "accepted" else cell(device["status"]),
            "" if device["percent"] is None else str(device["percent"]),
            str(device["pushes"] or ""),
            ago(device["last_seen"]),
            cell(reason(device)),
        )
    return table


def attempt_table(attempts: list[Json], versions: dict[int, str]) -> Table:
    """`versions`: of each firmware, by its id."""
    columns = "#", "begun", "version", "campaign", "state", "pushes", "fails", "why"
    table = titled_table("attempts", *columns)
    for number, each in enumerate(attempts, 1):
        words = f"{each['result_code'] or ''} {each['result_msg'] or ''}".strip()
        table.add_row(
            str(number),
            date(each["created_at"]),
            cell(versions.get(each["firmware_id"], "?")),
            str(each["campaign_id"] or ""),
            _state(each),
            str(each["pushes"]),
            str(each["soft_failures"] + each["hard_failures"]),
            cell(words),
        )
    return table


def report_table(reports: list[Json]) -> Table:
    table = titled_table("reports", "at", "what", "version", "%", "code", "words")
    for report in reports:
        table.add_row(
            date(report["at"]),
            cell(report["state"] or report["kind"]),
            cell(report["version"] or ""),
            "" if report["percent"] is None else str(report["percent"]),
            "" if report["result_code"] is None else str(report["result_code"]),
            cell(report["result_msg"] or (report["raw"] if report["version"] is None else "")),
        )
    return table


def reason(device: Json) -> str:
    """Why the device is not there yet, in the device's words."""
    words = ""
    if device["state"] in ("retry", "failed") or (device["result_code"] or 0) < 0:
        words = f"{device['result_code']} {device['result_msg'] or ''}".strip()
    if device["state"] == "retry" and device["next_push_at"]:
        words += f"; again in {max(device['next_push_at'] - time.time(), 0):.0f} s"
    if device["flooded_at"] and time.time() - device["flooded_at"] < FLOODED_S:
        words = "it sends more than it may; the rest was dropped"
    if device["state"] == "done" and device["version"] != device["target"]:
        words = "done, but reports another version"
    return words


def line(device: Json) -> str:
    """One device in one line."""
    words = [device["device"], device["version"] or "?"]
    if device["target"]:
        words += ["→", device["target"], device["state"]]
    if device["state"] == "downloading" and device["percent"] is not None:
        words.append(f"{device['percent']} %")
    if why := reason(device):
        words.append(f"({why})")
    return " ".join(words)


class Watcher(Protocol):
    """What is shown of a stream of devices."""

    def show(self, device: Json) -> None: ...

    def say(self, sentence: str) -> None: ...


class Lines:
    """For pipes and logs: a line when a state changes, and at every tenth of a download."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: dict[int, tuple[object, ...]] = {}

    def show(self, device: Json) -> None:
        tenth = None if device["percent"] is None else device["percent"] // 10
        shown = (device["version"], device["target"], device["state"], device["pushes"], tenth)
        if self._shown.get(device["id"]) != shown:
            self._shown[device["id"]] = shown
            self.say(line(device))

    def say(self, sentence: str) -> None:
        self._console.print(
            time.strftime("%H:%M:%S"),
            plain(sentence),
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


class Bars:
    """For a terminal: a bar for each device that has a target."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[int, TaskID] = {}

    def show(self, device: Json) -> None:
        if device["target"] is None:
            return
        percent = 100 if device["state"] in ("current", "done") else device["percent"] or 0
        task = self._tasks.get(device["id"])
        if task is None:
            task = self._progress.add_task("", total=100, completed=percent, device=device)
            self._tasks[device["id"]] = task
        self._progress.update(task, completed=percent, device=device)

    def say(self, sentence: str) -> None:
        self._progress.console.print(cell(sentence))


class _Words(TextColumn):
    """A column of a bar, made from the device; never read as markup."""

    def __init__(self, part: str) -> None:
        super().__init__("")
        self._part = part

    def render(self, task: Any) -> Text:
        device = task.fields["device"]
        if self._part == "name":
            return cell(f"{device['device']} {device['version'] or '?'} → {device['target']}")
        words = _state(device)
        if why := reason(device):
            words.append(f" {why}")
        return words


@contextmanager
def watcher(console: Console) -> Iterator[Watcher]:
    """Bars on a terminal, lines elsewhere."""
    if not console.is_terminal:
        yield Lines(console)
        return
    columns = (_Words("name"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), _Words("how"))
    with Progress(*columns, console=console) as progress:
        yield Bars(progress)


def _state(device: Json) -> Text:
    return cell(device["state"], style=STYLES.get(device["state"], ""))
