"""Render devices as tables, progress bars or plain lines."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from ..api_client import Json
from ..common.durations import ago, short
from ..common.plain_text import plain
from ..common.times import clock, date
from .fitted_table import fitted_table
from .terminal import cell

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
DROPPED_OF_ATTEMPT = "pushes", "fails", "campaign"
DROPPED_OF_REPORT = "%", "version", "code"


def device_table(
    devices: list[Json], width: int | None = None, by_part: Sequence[int] | None = None
) -> Table:
    """Render devices in at most `width` characters, with whole names and the columns that fit.

    A line separates two devices of different parts.
    """
    columns = list(COLUMNS)
    if any(device["application"] for device in devices):
        columns.insert(1, "application")
    return fitted_table(
        "devices",
        columns,
        [_cells(device) for device in devices],
        dropped=DROPPED,
        wrapped=("reason",),
        wrapped_least=REASON_LEAST,
        ends_part=lambda number: (
            by_part is not None and by_part[number : number + 1] != by_part[number + 1 :][:1]
        ),
        width=width,
    )


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


def attempt_table(
    attempts: list[Json], versions: dict[int, str], width: int | None = None
) -> Table:
    """Render attempts; `versions` maps the ids of firmware to versions."""
    columns = "#", "started", "version", "campaign", "state", "pushes", "fails", "result"
    rows: list[dict[str, Text | str]] = []
    for number, each in enumerate(attempts, 1):
        words = f"{each['result_code'] or ''} {each['result_msg'] or ''}".strip()
        if each["failure_code"] is not None and each["state"] != "done":
            words = _failure(each)
        rows.append(
            {
                "#": str(number),
                "started": date(each["created_at"]),
                "version": versions.get(each["firmware_id"], "?"),
                "campaign": str(each["campaign_id"] or ""),
                "state": _state(each),
                "pushes": str(each["pushes"]),
                "fails": str(each["soft_failures"] + each["hard_failures"]),
                "result": words,
            }
        )
    return fitted_table(
        "attempts (UTC)", columns, rows,
        dropped=DROPPED_OF_ATTEMPT, wrapped=("result",), width=width,
    )  # fmt: skip


def report_table(reports: list[Json], width: int | None = None) -> Table:
    columns = "time", "event", "version", "%", "code", "message"
    rows = [
        {
            "time": date(each["at"]),
            "event": each["state"] or each["kind"],
            "version": each["version"] or "",
            "%": "" if each["percent"] is None else str(each["percent"]),
            "code": "" if each["result_code"] is None else str(each["result_code"]),
            "message": each["result_msg"] or (each["raw"] if each["version"] is None else ""),
        }
        for each in reports
    ]
    return fitted_table(
        "reports (UTC)", columns, rows,
        dropped=DROPPED_OF_REPORT, wrapped=("message",), width=width,
    )  # fmt: skip


def reason(device: Json) -> str:
    """Return why the device has not reached its target, in the device's own words."""
    words = ""
    if device["state"] not in ("done", "current") and device["failure_code"] is not None:
        words = _failure(device)
    # It has passed if the campaign has stopped, or the device does not report.
    if device["state"] == "retry" and (wait := (device["next_push_at"] or 0) - time.time()) > 0:
        words += f"; retry in {wait:.0f} s"
    if device["flooded_at"] and time.time() - device["flooded_at"] < FLOODED_S:
        words = "exceeded its rate limit: some reports were dropped or delayed"
    if device["unasked"]:
        words = "no device has requested the file since the push: `ivota why` shows its URL"
    if device["left_target"]:
        words = f"done, but has since reported {device['version']}"
    return words


def _failure(attempt: Json) -> str:
    """Return the last failure, and the timeout if that ended the attempt later."""
    words = f"{attempt['failure_code']} {attempt['failure_msg'] or ''}".strip()
    later = attempt["result_msg"]
    if attempt["state"] == "failed" and later not in (None, attempt["failure_msg"]):
        words += f"; {later}"
    return words


def kind_line(device: Json) -> str:
    """Return a device's application and hardware, and its chip if it is known."""
    application, hardware = (device[each] or "unknown" for each in ("application", "hardware"))
    words = f"{device['device']} application: {application}, hardware: {hardware}"
    return f"{words}, chip: {device['chip']}" if device["chip"] else words


def watchdog_line(explained: Json) -> str:
    """Return how often the watchdog has reset the board outside a trial; "" if never."""
    if not (count := explained["watchdog_resets"]):
        return ""
    last = ago(explained["watchdog_reset_at"])
    if count == 1:
        return f"the watchdog reset the board once outside a trial, {last}"
    return f"the watchdog reset the board {count:,} times outside a trial, the last time {last}"


def interval_line(device: Json, explained: Json) -> str:
    """Return which group sets the interval of the device's reports; "" if none does."""
    seconds = explained.get("group_interval_s")  # missing in an older cloud
    if not seconds:
        return ""
    words = f"the group {explained['interval_group']} sets the report interval to {short(seconds)}"
    if device["report_interval_s"] == seconds:
        return words
    return f"{words}, but the cloud has not told the device yet"


def why_line(found: Json, device: Json) -> str:
    """Return why a device waits, with the command that helps."""
    hint = ""
    if device["status"] != "accepted":
        hint = f" (`ivota accept {device['device']}`)"
    elif device["state"] == "failed":
        hint = f" (`ivota retry {device['device']}`)"
    said = f"{found['device']} {found['state']}: {found['why']}{hint}"
    watchdog = watchdog_line(found)
    return f"{said}; {watchdog}" if watchdog else said


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
        fields = "version", "target", "state", "pushes", "unasked", "left_target"
        shown = (*(device[field] for field in fields), tenth)
        if self._shown.get(device["id"]) != shown:
            self._shown[device["id"]] = shown
            self.say(line(device))

    def say(self, sentence: str) -> None:
        self._console.print(
            clock(time.time()),
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
