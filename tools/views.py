"""How the command line shows devices, firmware and releases: tables, bars, or plain lines."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from .release import Release

Json = dict[str, Any]

_UPDATER = re.compile(r"lib/(ivota/|bundlefs\.)")

STYLES = {"done": "green", "current": "green", "failed": "red", "retry": "yellow"}


def device_table(devices: list[Json]) -> Table:
    table = Table(title="devices", title_justify="left")
    for name in ("device", "runs", "target", "state", "%", "pushes", "seen", "why"):
        table.add_column(name, justify="right" if name in ("%", "pushes") else "left")
    for device in devices:
        # Text, never str: a device's words are not markup.
        table.add_row(
            Text(device["device"]),
            Text(device["version"] or "?"),
            Text(device["target"] or ""),
            _state(device),
            "" if device["percent"] is None else str(device["percent"]),
            str(device["pushes"] or ""),
            ago(device["last_seen"]),
            Text(reason(device)),
        )
    return table


def report_table(reports: list[Json]) -> Table:
    table = Table(title="reports", title_justify="left")
    for name in ("at", "what", "version", "%", "code", "words"):
        table.add_column(name, justify="right" if name in ("%", "code") else "left")
    for report in reports:
        table.add_row(
            time.strftime("%m-%d %H:%M:%S", time.localtime(report["at"])),
            Text(report["state"] or report["kind"]),
            Text(report["version"] or ""),
            "" if report["percent"] is None else str(report["percent"]),
            "" if report["result_code"] is None else str(report["result_code"]),
            Text(report["result_msg"] or (report["raw"] if report["version"] is None else "")),
        )
    return table


def release_table(release: Release, every: bool = False) -> Table:
    """`every`: each file of the updater too, which is the same in most bundles."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("kind", release.kind)
    if release.kind == "bundle":
        table.add_row("application", Text(release.application or ""))
        table.add_row("version", Text(release.version or ""))
        table.add_row("files", str(len(release.files)))
        own = [file for file in release.files if every or not _UPDATER.match(file.path)]
        for file in own:
            table.add_row("", Text(f"{file.size:>9,}  {file.path}"))
        rest = sum(file.size for file in release.files) - sum(file.size for file in own)
        if rest:
            table.add_row("", f"{rest:>9,}  lib/ivota/ and lib/bundlefs, the updater")
        table.add_row("archive", f"{release.archive_size:,} bytes")
    elif release.version:
        table.add_row("version", Text(release.version))
    if release.patch and release.does:
        found, does = release.patch, release.does
        table.add_row("makes", f"a {found.kind} of {found.result_size:,} bytes")
        base = f"version {found.base_version}, of {found.base_size:,} bytes"
        table.add_row("out of", Text(base if found.base_size else "nothing: it is compressed"))
        table.add_row("copies", f"{does.copied:,} bytes in {does.records:,} records")
        table.add_row("changes", f"{does.changed:,} words of 16 bits in them")
        table.add_row("inserts", f"{does.inserted:,} bytes")
        table.add_row("share", f"{100 * release.size / found.result_size:.2f} % of what it makes")
    table.add_row("payload", f"{release.payload_size:,} bytes")
    if release.signed:
        table.add_row("signed", Text(f"as number {release.signed.sequence}"))
        table.add_row("target", Text(release.signed.target or "none"))
        table.add_row("by key", Text(f"{release.signed.key}; `ivota verify` tells whether it is"))
        if release.signed.time:
            when = time.gmtime(release.signed.time)
            table.add_row("time", time.strftime("%Y-%m-%d %H:%M:%S UTC", when))
    else:
        table.add_row("signed", "no")
    table.add_row("size", f"{release.size:,} bytes")
    table.add_row("md5", release.md5)
    table.add_row("sha256", release.sha256)
    return table


def patch_line(made: Release, whole: Release) -> str:
    """Where a patch lies, and how much it spares."""
    assert made.patch
    what = f"from {made.patch.base_version}" if made.patch.base_size else "compressed"
    return f"patch   {made.path}: {what}, {made.size:,} bytes, {percent(made, whole)} of the full"


def percent(made: Release, whole: Release) -> str:
    share = 100 * made.size / whole.size
    return f"{share:.2f} %" if share < 1 else f"{share:.1f} %"


@contextmanager
def bar(console: Console) -> Iterator[Callable[[str], Callable[[float], None]]]:
    """Gives a bar for each piece of work, named; it is told the share that is done, 0 to 1."""
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as progress:

        def begin(what: str) -> Callable[[float], None]:
            task = progress.add_task(escape(what), total=1.0)

            def at(share: float) -> None:
                progress.update(task, completed=share)

            return at

        yield begin


def ago(at: float | None) -> str:
    """How long ago a Unix time is, in the largest unit that fits."""
    if at is None:
        return "never"
    seconds = max(time.time() - at, 0)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def reason(device: Json) -> str:
    """Why the device is not there yet, in the device's words."""
    words = ""
    if device["state"] in ("retry", "failed") or (device["result_code"] or 0) < 0:
        words = f"{device['result_code']} {device['result_msg'] or ''}".strip()
    if device["state"] == "retry" and device["next_push_at"]:
        words += f"; again in {max(device['next_push_at'] - time.time(), 0):.0f} s"
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
            time.strftime("%H:%M:%S"), sentence, markup=False, highlight=False, soft_wrap=True
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
        self._progress.console.print(Text(sentence))


class _Words(TextColumn):
    """A column of a bar, made from the device; never read as markup."""

    def __init__(self, part: str) -> None:
        super().__init__("")
        self._part = part

    def render(self, task: Any) -> Text:
        device = task.fields["device"]
        if self._part == "name":
            return Text(f"{device['device']} {device['version'] or '?'} → {device['target']}")
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
    return Text(device["state"], style=STYLES.get(device["state"], ""))
