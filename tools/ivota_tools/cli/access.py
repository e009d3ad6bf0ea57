"""Define `ivota token …`, `audit` and `health`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ..api_client import Client
from . import access_views as views
from .terminal import AsJson, Yes, fail, out, print_json, say, show, sure

token = typer.Typer(no_args_is_help=True, help="Manage API tokens.")


@token.command("create")
def token_create(
    name: str,
    role: Annotated[str, typer.Option(help="viewer, operator or admin.")] = "operator",
    as_json: AsJson = False,
) -> None:
    """Create a token and print it. The token cannot be shown again."""
    with Client() as client:
        show(client.create_token(name, role), as_json, lambda found: str(found["token"]))


@token.command("list")
def token_list(as_json: AsJson = False) -> None:
    """List token names and roles. The cloud does not store the tokens themselves."""
    with Client() as client:
        show(client.tokens(), as_json, views.token_table)


@token.command("remove")
def token_remove(name: str, yes: Yes = False, as_json: AsJson = False) -> None:
    """Revoke a token."""
    with Client() as client:
        for each in client.tokens():
            if each["name"] == name:
                sure(
                    f"Revoke the token {name}? Programs that use it will stop working.",
                    yes,
                    "revoked",
                )
                client.remove_token(each["id"])
                return show(each, as_json, "{name} removed".format_map)
    fail(f"token {name!r} does not exist: list the tokens with `ivota token list`")


def audit(
    last: Annotated[int, typer.Option("--last", min=1, help="Number of entries to show.")] = 50,
    after: Annotated[
        int | None,
        typer.Option(
            "--after",
            min=0,
            metavar="ID",
            help="Export all entries with a higher id, oldest first, as one JSON object per line.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the audit log: who changed what and when."""
    with Client() as client:
        if after is None:
            return show(client.audit()[-last:], as_json, views.audit_table)
        for entry in client.export_audit(after):
            say(json.dumps(entry))


def health(as_json: AsJson = False) -> None:
    """Check the cloud; exit with code 1 if it is unhealthy."""
    with Client() as client:
        found = client.health()
    if as_json:
        print_json(found)
    else:
        say(views.health_line(found))
        if found["counters"]:
            out.print(views.counter_table(found["counters"]))
    if not found["ok"]:
        raise typer.Exit(1)
