"""Define `ivota ddi-token …`."""

from __future__ import annotations

from typing import Annotated

import typer

from ..api_client import Client
from . import access_views as views
from .terminal import AsJson, Yes, fail, show, sure

ddi_token = typer.Typer(
    no_args_is_help=True, help="Manage the tokens of SWUpdate, RAUC and other DDI clients."
)


@ddi_token.command("create")
def ddi_token_create(
    name: str,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            "-d",
            metavar="TENANT/ID",
            help="Create a TargetToken for this device, and add the device if it is unknown. "
            "Default: a GatewayToken, which is valid for every device.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create a token and print it. The token cannot be shown again."""
    with Client() as client:
        show(client.create_ddi_token(name, device), as_json, lambda found: str(found["token"]))


@ddi_token.command("list")
def ddi_token_list(as_json: AsJson = False) -> None:
    """List token names and devices. The cloud does not store the tokens themselves."""
    with Client() as client:
        show(client.ddi_tokens(), as_json, views.ddi_token_table)


@ddi_token.command("remove")
def ddi_token_remove(name: str, yes: Yes = False, as_json: AsJson = False) -> None:
    """Revoke a token."""
    with Client() as client:
        for each in client.ddi_tokens():
            if each["name"] == name:
                sure(
                    f"Revoke the token {name}? Its devices will get no more updates.",
                    yes,
                    "revoked",
                )
                client.remove_ddi_token(each["id"])
                return show(each, as_json, "{name} removed".format_map)
    fail(f"DDI token {name!r} does not exist: list the tokens with `ivota ddi-token list`")
