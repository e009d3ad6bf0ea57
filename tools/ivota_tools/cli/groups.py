"""`ivota group …`: groups of devices, by query."""

from __future__ import annotations

from typing import Annotated

import typer

from ..api_client import Client
from . import campaign_views as views
from .device_views import device_table
from .terminal import AsJson, fail, out, print_json, show

group = typer.Typer(no_args_is_help=True, help="Groups of devices, by query.")


@group.command("set")
def group_set(
    name: str,
    query: Annotated[str, typer.Argument(help="As in 'tag:beta version<0.3'.")],
    as_json: AsJson = False,
) -> None:
    """Make a group of a query, or give it another one.

    The words of a query are tag:T, product:P, name:N*, version<0.3 and seen<7d
    (also with <=, >, >=); a minus sign before one negates it; all must hold.
    Quote it for the shell.
    """
    with Client() as client:
        show(client.put_group(name, query), as_json, "{name}: {devices} devices".format_map)


@group.command("list")
def group_list(as_json: AsJson = False) -> None:
    """List the groups."""
    with Client() as client:
        show(client.groups(), as_json, views.group_table)


@group.command("show")
def group_show(
    query: Annotated[str, typer.Argument(help="A group's name, or a query.")],
    as_json: AsJson = False,
) -> None:
    """List the devices of a group, or of a query."""
    with Client() as client:
        known = {each["name"]: each["query"] for each in client.groups()}
        found = client.query(known.get(query, query))
    if as_json:
        print_json(found)
    else:
        out.print(device_table(found))


@group.command("remove")
def group_remove(name: str) -> None:
    """Forget a group; campaigns that have begun go on."""
    with Client() as client:
        for each in client.groups():
            if each["name"] == name:
                return client.remove_group(each["id"])
    fail(f"there is no group {name!r}: `ivota group list` shows those that there are")
