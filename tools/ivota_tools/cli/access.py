"""`ivota token …`, `audit`, `health`: who may use the cloud, who did, and whether it is well."""

from __future__ import annotations

from typing import Annotated

import typer

from ..api_client import Client
from . import access_views as views
from .terminal import AsJson, fail, out, print_json, say, show

token = typer.Typer(no_args_is_help=True, help="Who may use the cloud's API.")


@token.command("create")
def token_create(
    name: str,
    role: Annotated[str, typer.Option(help="viewer, operator or admin.")] = "operator",
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, this once."""
    with Client() as client:
        show(client.create_token(name, role), as_json, lambda found: str(found["token"]))


@token.command("list")
def token_list(as_json: AsJson = False) -> None:
    """List the tokens: names and roles; the tokens themselves are kept nowhere."""
    with Client() as client:
        show(client.tokens(), as_json, views.token_table)


@token.command("remove")
def token_remove(name: str) -> None:
    """Take a token back."""
    with Client() as client:
        for each in client.tokens():
            if each["name"] == name:
                return client.remove_token(each["id"])
    fail(f"there is no token {name!r}: `ivota token list` shows those that there are")


def audit(
    last: Annotated[int, typer.Option("--last", min=1, help="How many lines.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show who changed what."""
    with Client() as client:
        show(client.audit()[-last:], as_json, views.audit_table)


def health(as_json: AsJson = False) -> None:
    """Say whether the cloud works; exit code 1 where it does not."""
    with Client() as client:
        found = client.health()
    if as_json:
        print_json(found)
    else:
        say(views.health_line(found))
        out.print(views.counter_table(found["counters"]))
    if not found["ok"]:
        raise typer.Exit(1)
