"""Render devices as tables, progress bars or plain lines."""

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
from ..common.durations import ago
from ..common.plain_text import plain
from .terminal import cell, titled_table
from .times import date

STYLES = {"done": "green", "current": "green", "failed": "red", "retry": "yellow"}


FLOODED_S = 3600.0  # for how long to show that a device exceeded its rate limit


def device_table(devices: list[Json]) -> Table:
    columns = "device", "version", "target", "state", "%", "pushes", "last seen", "reason"
    table = titled_table("devices", *columns)
    for device in devices:
        # Use Text, never str: text from a device is not markup.
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
    """Render attempts; `versions` maps the ids of firmware to versions."""
    columns = "#", "started", "version", "campaign", "state", "pushes", "fails", "result"
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
    table = titled_table("reports", "time", "event", "version", "%", "code", "message")
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
    """Return why the device has not reached its target, in the device's own words."""
    words = ""
    if device["state"] in ("retry", "failed") or (device["result_code"] or 0) < 0:
        words = f"{device['result_code']} {device['result_msg'] or ''}".strip()
    if device["state"] == "retry" and device["next_push_at"]:
        words += f"; retry in {max(device['next_push_at'] - time.time(), 0):.0f} s"
    if device["flooded_at"] and time.time() - device["flooded_at"] < FLOODED_S:
        words = "exceeded its rate limit: some reports were dropped"
    if device["state"] == "done" and device["version"] != device["target"]:
        words = "done, but now reports another version"
    return words


def line(device: Json) -> str:
    """Return a one-line summary of a device."""
    words = [device["device"], device["version"] or "?"]
    if device["target"]:
        words += ["→", device["target"], device["state"]]
    if device["state"] == "downloading" and device["percent"] is not None:
        words.append(f"{device['percent']} %")
    if why := reason(device):
        words.append(f"({why})")
    return " ".join(words)


class Watcher(Protocol):
    """Show a stream of device states."""

    def show(self, device: Json) -> None: ...

    def say(self, sentence: str) -> None: ...


class Lines:
    """Print a line per state change and per 10 % of a download, for pipes and logs."""

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
    """Draw a progress bar per device that has a target, for terminals."""

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
    """Render a column of a progress bar from the device, never as markup."""

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
    """Yield progress bars on a terminal, plain lines elsewhere."""
    if not console.is_terminal:
        yield Lines(console)
        return
    columns = (_Words("name"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), _Words("how"))
    with Progress(*columns, console=console) as progress:
        yield Bars(progress)


def _state(device: Json) -> Text:
    return cell(device["state"], style=STYLES.get(device["state"], ""))
