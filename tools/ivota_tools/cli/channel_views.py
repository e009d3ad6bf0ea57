"""Show a channel's index, and what boards will do, as tables and as JSON."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from datetime import datetime, timezone

from rich.table import Table

from ..api_client import Json
from ..channel.index import Delta, Index, Release
from ..channel.outlook import Step
from .terminal import cell, out, print_json, say, titled_table, warn


def show_index(index: Index, as_json: bool) -> None:
    """Print what the channel offers, and until when."""
    if as_json:
        print_json(index_json(index))
        return
    out.print(index_table(index))
    expires = f"expires {utc(index.expires)}" if index.expires else "never expires"
    say(f"serial {index.serial}, {expires}")
    if index.expires and index.expires < time.time():
        warn("the index has expired: run `ivota channel refresh` and copy it to the server")


def show_served(channel: Json) -> None:
    """Print a channel that the cloud serves, as its API describes it."""
    tracks = {
        track: tuple(
            Release(**{**each, "deltas": tuple(Delta(**delta) for delta in each["deltas"])})
            for each in offered
        )
        for track, offered in channel["tracks"].items()
    }
    serial = channel["serial"]
    how = "published by the cloud" if channel["fills"] else "mirrored by the cloud"
    say(f"{channel['url']} ({how}, keys {', '.join(channel['keys'])})")
    if serial is None:
        say("nothing has been published in this channel yet")
    else:
        show_index(Index(channel["product"], serial, channel["expires"], tracks), False)


def index_json(index: Index) -> dict[str, object]:
    return dataclasses.asdict(index)


def index_table(index: Index) -> Table:
    table = titled_table(
        f"channel of {index.product}",
        "track",
        "target",
        "version",
        "boards",
        "size",
        "deltas from",
    )
    for track, offered in index.tracks.items():
        for each in offered:
            boards = f"{each.share} %"
            if each.not_before:
                boards += f" from {utc(each.not_before)}"
            table.add_row(
                cell(track),
                cell(each.target or ""),
                cell(each.version),
                boards,
                f"{each.size:,}",
                cell(", ".join(delta.base for delta in each.deltas)),
            )
    return table


def step_json(step: Step) -> dict[str, object]:
    return {
        "track": step.track,
        "target": step.target,
        "running": step.running,
        "percent": step.percent,
        "version": step.release.version if step.release else None,
        "file": step.file.file if step.file else None,
        "size": step.file.size if step.file else None,
    }


def step_table(steps: Sequence[Step]) -> Table:
    table = titled_table("what boards do", "track", "target", "running", "boards", "then", "size")
    for step in steps:
        then = f"update to {step.release.version}" if step.release else "keep it"
        if step.file and step.file is not step.release:
            then += " with a delta"
        table.add_row(
            cell(step.track),
            cell(step.target or ""),
            cell(step.running),
            f"{step.percent} %",
            cell(then),
            f"{step.file.size:,}" if step.file else "",
        )
    return table


def utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
