"""Define the commands that change devices: `ivota tag`, `accept`, `retire` and others."""

from __future__ import annotations

from typing import Annotated

import typer

from ..api_client import Client
from . import bulk_actions
from .bulk_actions import DryRun, Where
from .device_names import DeviceName, OneDevice, complete_name
from .terminal import AsJson, Yes, fail, show, sure


def tag(
    device: OneDevice = None,
    tags: Annotated[
        list[str] | None,
        typer.Argument(
            help="Tags to add to the device. With --where, use --add.", metavar="[TAG]..."
        ),
    ] = None,
    add: Annotated[
        list[str] | None, typer.Option("--add", "-a", help="Tag to add; repeatable.")
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", "-r", help="Tag to remove; repeatable.")
    ] = None,
    where: Where = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Add or remove tags of a device, or of all devices that match a query."""
    if where is not None and device is not None:
        fail("specify either a device or --where; with --where, add tags with --add")
    name = bulk_actions.one(device, where, dry_run)
    new = [*(tags or ()), *(add or ())]
    if where is not None and not (new or remove):
        fail("specify tags with --add or --remove")
    if name is None:
        assert where is not None
        return bulk_actions.act(
            where, "tag", "changed", dry_run=dry_run, as_json=as_json, add=new, remove=remove or []
        )
    with Client() as client:
        found = client.tag(client.device(name)["id"], new, remove or ())
    show(found, as_json, lambda found: " ".join([found["device"], *found["tags"]]))


def secret(
    device: DeviceName,
    value: Annotated[
        str | None, typer.Argument(help="Secret in base64; required unless you use --remove.")
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the secret; the device can no longer sign in.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Set a device's sign-in secret, for a cloud that runs with --sign-in."""
    if remove == bool(value):
        fail("specify the secret, or use --remove to remove the device's secret")
    with Client() as client:
        number = client.device(device)["id"]
        if value:
            found = client.set_secret(number, value)
        else:
            sure(f"Remove the secret of {device}? The device can no longer sign in.", yes)
            found = client.remove_secret(number)
    does = (
        "must sign in with this secret if the cloud runs with --sign-in"
        if value
        else "has no secret, and cannot sign in"
    )
    show(found, as_json, lambda found: f"{found['device']} {does}")


def accept(
    device: Annotated[
        list[str] | None,
        typer.Argument(
            help="PRODUCT/NAME, or just NAME; repeatable.", autocompletion=complete_name
        ),
    ] = None,
    everyone: Annotated[
        bool, typer.Option("--all", help="Accept all pending devices: same as --where all.")
    ] = False,
    where: Annotated[
        str | None,
        typer.Option(
            help="Accept all pending devices that match this query, such as 'product:P'."
        ),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Accept pending or retired devices into the fleet."""
    if [bool(device), everyone, where is not None].count(True) != 1:
        fail("specify devices, or --where, or --all to accept all pending devices")
    query = "all" if everyone else where
    names = bulk_actions.one(device or None, query, dry_run)
    if names is None:
        assert query is not None
        return bulk_actions.act(
            query, "accept", "accepted", question="Accept {}?",
            yes=yes, dry_run=dry_run, as_json=as_json,
        )  # fmt: skip
    with Client() as client:
        for name in names:
            found = client.accept_device(client.device(name)["id"])
            show(found, as_json, "{device} accepted".format_map)


def retire(
    device: OneDevice = None,
    where: Where = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Retire a device, or all devices that match a query.

    A retired device gets no updates and cannot sign in. The cloud keeps its history.
    """
    name = bulk_actions.one(device, where, dry_run)
    if name is None:
        assert where is not None
        question = "Retire {}? Retired devices get no updates and cannot sign in."
        return bulk_actions.act(
            where, "retire", "retired",
            question=question, yes=yes, dry_run=dry_run, as_json=as_json,
        )  # fmt: skip
    with Client() as client:
        named = client.device(name)
        sure(f"Retire {named['device']}? It gets no updates and cannot sign in.", yes, "retired")
        found = client.retire_device(named["id"])
    show(found, as_json, "{device} retired".format_map)


def delete(
    device: OneDevice = None,
    where: Where = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete a device, or all devices that match a query, and their entire history.

    If a deleted device still sends reports, the cloud adds it again as a new device.
    """
    name = bulk_actions.one(device, where, dry_run)
    if name is None:
        assert where is not None
        question = "Permanently delete {} and the entire update history?"
        return bulk_actions.act(
            where, "delete", "deleted",
            question=question, yes=yes, dry_run=dry_run, as_json=as_json,
        )  # fmt: skip
    with Client() as client:
        found = client.device(name)
        sure(f"Permanently delete {found['device']} and its entire history?", yes, "deleted")
        client.delete_device(found["id"])
    show(found, as_json, "{device} deleted".format_map)
