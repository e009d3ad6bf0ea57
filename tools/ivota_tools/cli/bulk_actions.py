"""The option --where of commands: an action on all devices that match a query."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..api_client import ApiError, Client
from .terminal import fail, print_json, say, sure

SHOWN = 5  # devices that --dry-run names

Where = Annotated[
    str | None,
    typer.Option(
        help="Act on all accepted devices that match this query, such as 'version<0.3', instead "
        "of one device; `all` means every device."
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="With --where: show the matching devices, and change nothing."),
]


def one(device: str | None, where: str | None, dry_run: bool) -> str | None:
    """Return the device, or None with --where; anything else ends the command."""
    if (device is None) == (where is None):
        fail("specify either a device or --where")
    if dry_run and where is None:
        fail("--dry-run needs --where")
    return device


def act(
    where: str, action: str, done: str, *, dry_run: bool, as_json: bool, question: str = "",
    yes: bool = False, **order: Any,
) -> None:  # fmt: skip
    """Act on the devices that match.

    `question` is asked first, unless it is empty, with {} for the number of devices; `done` says
    what has happened to those that were changed.
    """
    with Client() as client:
        count = client.count(where)
        devices = f"{count:,} device{'' if count == 1 else 's'}"
        if dry_run:
            return _show(client, where, count, as_json)
        expected = None
        if question and count:
            sure(question.format(f"{devices} that match{'es' if count == 1 else ''} {where!r}"),
                 yes, done)  # fmt: skip
            expected = None if yes else count
        changed = 0
        try:
            parts = client.act_on_matching(where, action, expected=expected, **order)
            for so_far in parts:
                changed = so_far
        except ApiError as error:
            if not changed:
                raise
            fail(f"{error}; {changed:,} devices were {done} before: run the command again")
    if as_json:
        return print_json({"query": where, "devices": count, "changed": changed})
    if not count:
        return say(f"no devices match {where!r}")
    say(f"{devices} match{'es' if count == 1 else ''} {where!r}: {changed:,} {done}")


def _show(client: Client, where: str, count: int, as_json: bool) -> None:
    names = [each["device"] for each in client.first(where, SHOWN)]
    if as_json:
        return print_json({"query": where, "devices": count, "changed": 0, "first": names})
    if not count:
        return say(f"no devices match {where!r}")
    more = f" and {count - len(names):,} more" if count > len(names) else ""
    verb = "device matches" if count == 1 else "devices match"
    say(f"{count:,} {verb} {where!r}: {', '.join(names)}{more}; nothing was changed")
