"""Render campaigns and groups."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..api_client import Json
from ..common import durations, times
from ..common.times import clock
from .fitted_table import fitted_table
from .terminal import cell, titled_table

STYLES = {"finished": "green", "running": "cyan", "stopped": "red", "cancelled": "yellow"}


def campaign_table(campaigns: list[Json], width: int | None = None) -> Table:
    columns = "#", "name", "firmware", "state", "stage", "done", "failed", "remaining", "devices"
    rows: list[dict[str, Text | str]] = []
    for each in campaigns:
        stage = f"{each['stage'] + 1}/{len(each['progress'])}" if each["progress"] else ""
        numbers = ("done", "failed", "remaining", "devices")
        rows.append(
            {
                "#": str(each["id"]),
                "name": each["name"],
                "firmware": _firmware(each),
                "state": _state(each),
                "stage": stage,
                **{name: str(each["totals"][name]) for name in numbers},
            }
        )
    return fitted_table(
        "campaigns", columns, rows,
        dropped=("remaining", "stage", "done"), wrapped=("name", "firmware"), wrapped_least=12,
        width=width,
    )  # fmt: skip


def _firmware(campaign: Json) -> str:
    firmware = campaign["firmware"]
    return f"{firmware['application'] or ''} {firmware['version']}".strip()


def plan_view(plan: Json) -> RenderableType:
    """Render what a campaign would do, one sentence per line."""
    sentences = list(plan["sentences"])
    if not plan["devices"] and any(
        reason.startswith("already run") for reason in plan["left_out"]
    ):
        sentences.append("To go back to an older version, use --all-versions.")
    return Group(*(cell(sentence) for sentence in sentences))


def campaign_view(campaign: Json) -> RenderableType:
    """Render a campaign with a progress bar per stage."""
    firmware, name = campaign["firmware"], campaign["name"]
    what = _firmware(campaign)
    named = f"{name} → " if name not in (what, firmware["version"]) else ""
    head = Text.assemble(
        f"campaign {campaign['id']} {named}{what} ",
        _state(campaign),
        f": {campaign['reason']}" if campaign["reason"] else "",
    )
    if not campaign["progress"]:
        if campaign["state"] not in ("draft", "scheduled"):
            return Group(
                head, cell("no devices: the query matched none when the campaign started")
            )
        when = campaign["start_at"]
        begins = "not started yet"
        if when:
            begins = f"starts at {times.minute(when)}"
        return Group(head, cell(begins))
    table = Table(box=None, pad_edge=False, show_header=False)
    for number, stage in enumerate(campaign["progress"]):
        marker = "▶" if number == campaign["stage"] and campaign["state"] == "running" else " "
        counted = max(stage["members"] - stage["left_out"], 1)
        table.add_row(
            f"{marker} stage {number + 1}",
            ProgressBar(total=counted, completed=stage["good"], width=22),
            cell(stage["totals"]["summary"], "red" if stage["totals"]["failed"] else "dim"),
        )
    words = ", ".join(f"{count} {state}" for state, count in sorted(campaign["states"].items()))
    lines: list[RenderableType] = [head, table, cell(words)]
    if campaign["waits_for"]:
        lines.append(cell(campaign["waits_for"]))
    if campaign["totals"]["failed"]:
        lines.append(cell(f"to see the reasons: ivota firmware --failures {firmware['id']}"))
    return Group(*lines)


def group_table(groups: list[Json]) -> Table:
    table = titled_table("groups", "name", "query", "devices", "report every")
    for each in groups:
        seconds = each.get("report_interval_s")  # missing in an older cloud
        rhythm = durations.short(seconds) if seconds else ""
        table.add_row(cell(each["name"]), cell(each["query"]), str(each["devices"]), rhythm)
    return table


def group_line(group: Json) -> str:
    """Return the size of a group, and how many reports its interval causes."""
    count = group["devices"]
    words = f"{group['name']}: {count} devices"
    if seconds := group.get("report_interval_s"):
        rate = f"{count / seconds:.2g} reports per second"
        words += f", each reports every {durations.short(seconds)} ({rate})"
    return words


@contextmanager
def live(console: Console) -> Iterator[Callable[[Json], None]]:
    """Yield a function that shows a campaign: in place on a terminal, as lines elsewhere."""
    if not console.is_terminal:
        yield lambda campaign: console.print(_line(campaign), markup=False, soft_wrap=True)
        return
    with Live(console=console) as shown:
        yield lambda campaign: shown.update(campaign_view(campaign))


def _line(campaign: Json) -> str:
    stage = f"stage {campaign['stage'] + 1} of {len(campaign['progress'])}"
    words = [f"{stage}: {campaign['totals']['summary']}", campaign["reason"]]
    parts = [clock(time.time()), campaign["state"], *words]
    return " ".join(part for part in parts if part)


def _state(campaign: Json) -> Text:
    return cell(campaign["state"], style=STYLES.get(campaign["state"], ""))
