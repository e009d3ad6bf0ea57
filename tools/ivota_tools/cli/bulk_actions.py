"""The option --where of commands: an action on many devices that match a query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import typer

from ..api_client import BULK_MOST, ApiError, Client
from .terminal import fail, print_json, say, sure

SHOWN = 5  # devices that --dry-run names

Where = Annotated[
    str | None,
    typer.Option(
        help="Act on all accepted devices that match this query, such as 'version<0.3', instead "
        "of named devices; `all` matches every accepted device."
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="With --where: show the matching devices, and change nothing."),
]

# Which of the matching devices an action is for, in the singular and in the plural.
ONLY = {
    "retry": (" and has a failed update", " and have a failed update"),
    "cancel": (" and has an unfinished update", " and have an unfinished update"),
    "accept": (" and is pending", " and are pending"),
}
Named = TypeVar("Named", str, list[str])


def one(device: Named | None, where: str | None, dry_run: bool) -> Named | None:
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

    `question` is asked first, unless it is empty, with {} for the devices; `done` says what has
    happened to those that were changed. Devices that match later are not included.
    """
    with Client() as client:
        ids = client.matching_ids(where, action)
        only = ONLY.get(action, ("", ""))[len(ids) != 1]
        devices = f"{len(ids):,} device{'' if len(ids) == 1 else 's'}"
        match = f"match{'es' if len(ids) == 1 else ''} {where!r}{only}"
        if ids and dry_run:
            return _show(client, where, ids, f"{devices} {match}", as_json)
        if ids and question:
            sure(question.replace("{}", f"{devices} that {match}", 1), yes, done)
        changed, skipped = _send(client, where, action, done, ids, **order)
    if as_json:
        reasons = [{"devices": count, "reason": why} for why, count in skipped.most_common()]
        answer = {"query": where, "devices": len(ids), "changed": changed, "skipped": reasons}
        return print_json(answer | ({"first": []} if dry_run else {}))
    if not ids:
        return say(f"no devices {match}")
    why = "".join(f"; {count:,} skipped: {reason}" for reason, count in skipped.most_common())
    say(f"{devices} {match}: {changed:,} {done}{why}")


def _send(
    client: Client, where: str, action: str, done: str, ids: Sequence[int], **order: Any
) -> tuple[int, Counter[str]]:
    """Act on the devices; return how many were changed, and how many skipped for each reason."""
    changed, sent, skipped = 0, 0, Counter[str]()
    problem = "interrupted"
    try:
        for part in client.act_on_matching(where, action, ids, **order):
            changed += part["devices"]
            sent = min(sent + BULK_MOST, len(ids))
            for each in part["skipped"]:
                skipped[each["reason"]] += each["devices"]
        return changed, skipped
    except KeyboardInterrupt:
        unknown = True
    except ApiError as error:
        unknown, problem = not error.status, str(error)  # without an answer
        if not changed and not unknown:
            raise
    more = min(BULK_MOST, len(ids) - sent)
    perhaps = f", and up to {more:,} more may have been" if unknown else ""
    fail(f"{problem}; {changed:,} of {len(ids):,} devices were {done}{perhaps}: run the command "
         "again")  # fmt: skip


def _show(client: Client, where: str, ids: Sequence[int], match: str, as_json: bool) -> None:
    names = [client.device_by_id(each)["device"] for each in ids[:SHOWN]]
    if as_json:
        answer = {"query": where, "devices": len(ids), "changed": 0, "skipped": [], "first": names}
        return print_json(answer)
    more = f" and {len(ids) - len(names):,} more" if len(ids) > len(names) else ""
    say(f"{match}: {', '.join(names)}{more}; nothing was changed")
