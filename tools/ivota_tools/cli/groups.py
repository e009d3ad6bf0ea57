"""Define `ivota group …`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from ..api_client import Client
from . import campaign_views as views
from .device_views import device_table
from .terminal import AsJson, Yes, fail, out, print_json, show, span, sure

group = typer.Typer(
    no_args_is_help=True, help="Manage groups of devices, each defined by a query."
)


@group.command("set")
def group_set(
    name: str,
    query: Annotated[str, typer.Argument(help="For example 'tag:beta version<0.3'.")],
    report_interval: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="How often boards in the group report their version, from 10s to 1d, or "
            "`none` to use each board's own configuration. Default: keep the current setting.",
        ),
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Create a group from a query, or change its query.

    A query consists of terms: tag:T, product:P, name:N*, application:A,
    hardware:H, chip:C, state:failed, version<0.3 and seen<7d (or <=, >, >=).
    A device must match every term; a minus sign negates a term.
    Quote the query for the shell.
    """
    seconds: int | Literal["none"] | None = None
    if report_interval is not None:
        seconds = "none" if report_interval == "none" else round(span(report_interval))
    with Client() as client:
        old = next((each["query"] for each in client.groups() if each["name"] == name), query)
        if old != query:
            sure(f"Replace the query of the group {name}, {old!r}?", yes)
        show(client.put_group(name, query, seconds), as_json, views.group_line)


@group.command("list")
def group_list(as_json: AsJson = False) -> None:
    """List the groups."""
    with Client() as client:
        show(client.groups(), as_json, views.group_table)


@group.command("show")
def group_show(
    query: Annotated[str, typer.Argument(help="Name of a group, or a query.")],
    as_json: AsJson = False,
) -> None:
    """List the devices in a group, or those that match a query."""
    with Client() as client:
        known = {each["name"]: each["query"] for each in client.groups()}
        found = client.query(known.get(query, query))
    if as_json:
        print_json(found)
    else:
        out.print(device_table(found))


@group.command("remove")
def group_remove(name: str, yes: Yes = False, as_json: AsJson = False) -> None:
    """Delete a group; campaigns that have already started continue."""
    with Client() as client:
        for each in client.groups():
            if each["name"] == name:
                sure(f"Delete the group {name} ({each['query']})?", yes, "deleted")
                client.remove_group(each["id"])
                return show(each, as_json, "{name} removed".format_map)
    fail(f"group {name!r} does not exist: list the groups with `ivota group list`")
