"""`ivota user`: who may sign in to the console."""

from __future__ import annotations

from typing import Annotated

import typer

from ..api_client import Client, Json
from . import access_views as views
from .terminal import AsJson, ask_secret, fail, show

user = typer.Typer(no_args_is_help=True, help="Who may sign in to the console.")

Role = Annotated[str, typer.Option(help="viewer, operator or admin.")]


@user.command("create")
def create(name: str, role: Role = "operator", as_json: AsJson = False) -> None:
    """Let somebody in. The password is asked for, or taken from IVOTA_PASSWORD."""
    with Client() as client:
        found = client.create_user(name, _password(), role)
        show(found, as_json, "{name} may sign in, as {role}".format_map)


@user.command("list")
def list_(as_json: AsJson = False) -> None:
    """List who may sign in."""
    with Client() as client:
        show(client.users(), as_json, views.user_table)


@user.command("role")
def role(name: str, role: Annotated[str, typer.Argument(help="viewer, operator, admin.")]) -> None:
    """Give a user another role."""
    with Client() as client:
        client.change_user(_found(client, name)["id"], role=role)


@user.command("password")
def password(name: str) -> None:
    """Replace a user's password, as when it is lost, and sign them out everywhere."""
    with Client() as client:
        client.change_user(_found(client, name)["id"], password=_password())


@user.command("remove")
def remove(name: str) -> None:
    """Let a user in no longer."""
    with Client() as client:
        client.remove_user(_found(client, name)["id"])


def _found(client: Client, name: str) -> Json:
    for each in client.users():
        if each["name"] == name.strip().lower():
            return each
    fail(f"there is no user {name!r}: `ivota user list` shows those that there are")


def _password() -> str:
    return ask_secret("Password", "IVOTA_PASSWORD", new=True)
