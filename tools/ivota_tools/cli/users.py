"""Define `ivota user …`: accounts for the console."""

from __future__ import annotations

from typing import Annotated

import typer

from ..api_client import Client, Json
from . import access_views as views
from .terminal import AsJson, Yes, ask_secret, fail, show, sure

user = typer.Typer(no_args_is_help=True, help="Manage console users.")

Role = Annotated[str, typer.Option(help="viewer, operator or admin.")]


@user.command("create")
def create(name: str, role: Role = "operator", as_json: AsJson = False) -> None:
    """Create a user. Set IVOTA_PASSWORD to skip the password prompt."""
    with Client() as client:
        found = client.create_user(name, _password(), role)
        show(found, as_json, "{name} can sign in with the role {role}".format_map)


@user.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the users."""
    with Client() as client:
        show(client.users(), as_json, views.user_table)


@user.command("role")
def role(
    name: str,
    role: Annotated[str, typer.Argument(help="viewer, operator or admin.")],
    as_json: AsJson = False,
) -> None:
    """Change a user's role."""
    with Client() as client:
        found = client.change_user(_found(client, name)["id"], role=role)
    show(found, as_json, "{name} has the role {role}".format_map)


@user.command("password")
def password(name: str, as_json: AsJson = False) -> None:
    """Reset a user's password and sign them out everywhere."""
    with Client() as client:
        found = client.change_user(_found(client, name)["id"], password=_password())
    show(found, as_json, "{name} has a new password and is signed out".format_map)


@user.command("reset-second-factor")
def reset_second_factor(name: str, yes: Yes = False, as_json: AsJson = False) -> None:
    """Turn off the second factor of a user who has lost it."""
    with Client() as client:
        named = _found(client, name)
        sure(f"Let {named['name']} sign in with only the password?", yes)
        found = client.reset_second_factor(named["id"])
    show(found, as_json, "{name} can sign in without a second factor".format_map)


@user.command("remove")
def remove(name: str, yes: Yes = False, as_json: AsJson = False) -> None:
    """Delete a user."""
    with Client() as client:
        found = _found(client, name)
        sure(f"Delete the user {found['name']}? They are signed out immediately.", yes, "deleted")
        client.remove_user(found["id"])
    show(found, as_json, "{name} removed".format_map)


def _found(client: Client, name: str) -> Json:
    for each in client.users():
        if each["name"] == name.strip().lower():
            return each
    fail(f"user {name!r} does not exist: list the users with `ivota user list`")


def _password() -> str:
    return ask_secret("password", "IVOTA_PASSWORD", new=True)
