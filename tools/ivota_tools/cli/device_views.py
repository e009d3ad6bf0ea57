"""Render devices as tables, progress bars or plain lines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from ..api_client import Json
from ..common.durations import ago
from ..common.plain_text import plain
from ..common.times import date
from .terminal import cell, out, titled_table

STYLES = {
    "done": "green",
    "current": "green",
    "failed": "red",
    "retry": "yellow",
    "stalled": "yellow",
}


FLOODED_S = 3600.0  # for how long to show that a device exceeded its rate limit


# The columns of a table of devices, and which of them a narrow terminal lacks first.
COLUMNS = "device", "version", "target", "state", "%", "pushes", "last seen", "reason"
DROPPED = "pushes", "%", "application", "last seen", "target", "reason"
REASON_LEAST = 16  # characters; longer reasons are wrapped


def device_table(
    devices: list[Json], width: int | None = None, by_part: Sequence[int] | None = None
) -> Table:
    """Render devices in at most `width` characters, with whole names and the columns that fit.

    A line separates two devices of different parts.
    """
    columns = list(COLUMNS)
    if any(device["application"] for device in devices):
        columns.insert(1, "application")
    rows = [_cells(device) for device in devices]
    least = {
        name: max(cell_len(name), *(cell_len(row[name].plain) for row in rows), 0)
        for name in columns
    }
    least["reason"] = min(least["reason"], REASON_LEAST)
    for name in DROPPED:
        if sum(least[each] + 3 for each in columns) + 1 <= (width or out.width):
            break
        if name in columns:
            columns.remove(name)
    table = titled_table("devices", *columns)
    for column in table.columns:
        column.no_wrap = column.header != "reason"
        column.overflow = "fold"
    for number, row in enumerate(rows):
        # Use Text, never str: text from a device is not markup.
        last = by_part is not None and by_part[number : number + 1] != by_part[number + 1 :][:1]
        table.add_row(*(row[name] for name in columns), end_section=last)
    return table


def _cells(device: Json) -> dict[str, Text]:
    return {
        "device": cell(device["device"]),
        "application": cell(device["application"] or ""),
        "version": cell(device["version"] or "?"),
        "target": cell(device["target"] or ""),
        "state": _shown_state(device),
        "%": cell("" if device["percent"] is None else str(device["percent"])),
        "pushes": cell(str(device["pushes"] or "")),
        "last seen": cell(ago(device["last_seen"])),
        "reason": cell(reason(device)),
    }


def _shown_state(device: Json) -> Text:
    if device["status"] != "accepted":
        return cell(device["status"])
    if device["attention"] == "stalled":
        return cell("stalled", STYLES["stalled"])
    return _state(device)


def attempt_table(attempts: list[Json], versions: dict[int, str]) -> Table:
    """Render attempts; `versions` maps the ids of firmware to versions."""
    columns = "#", "started", "version", "campaign", "state", "pushes", "fails", "result"
    table = titled_table("attempts (UTC)", *columns)
    for number, each in enumerate(attempts, 1):
        words = f"{each['result_code'] or ''} {each['result_msg'] or ''}".strip()
        if each["failure_code"] is not None and each["state"] != "done":
            words = f"{each['failure_code']} {each['failure_msg'] or ''}".strip()
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
    table = titled_table("reports (UTC)", "time", "event", "version", "%", "code", "message")
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
    if device["state"] not in ("done", "current") and device["failure_code"] is not None:
        words = f"{device['failure_code']} {device['failure_msg'] or ''}".strip()
    if device["state"] == "retry" and device["next_push_at"]:
        words += f"; retry in {max(device['next_push_at'] - time.time(), 0):.0f} s"
    if device["flooded_at"] and time.time() - device["flooded_at"] < FLOODED_S:
        words = "exceeded its rate limit: some reports were dropped"
    if device["unasked"]:
        words = "no device has requested the file since the push: `ivota why` shows its URL"
    if device["left_target"]:
        words = f"done, but reports {device['version']} since then"
    return words


def kind_line(device: Json) -> str:
    """Return a device's application and hardware."""
    application = device["application"] or "not known"
    return f"{device['device']} application: {application}, hardware: " + (
        device["hardware"] or "not known"
    )


def why_line(found: Json, device: Json) -> str:
    """Return why a device waits, with the command that helps."""
    hint = ""
    if device["status"] != "accepted":
        hint = f" (`ivota accept {device['device']}`)"
    elif device["state"] == "failed":
        hint = f" (`ivota retry {device['device']}`)"
    return f"{found['device']} {found['state']}: {found['why']}{hint}"


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
