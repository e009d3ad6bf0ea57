"""Define `ivota webhook …`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from ..api_client import Client, Json
from ..common.times import date
from .terminal import AsJson, cell, err, show, titled_table

webhook = typer.Typer(
    no_args_is_help=True, help="Test webhooks, and list or resend undelivered messages."
)


@webhook.command("list")
def webhook_list(as_json: AsJson = False) -> None:
    """List the messages that are waiting for delivery or that the cloud has given up on."""
    with Client() as client:
        show(client.webhook_messages(), as_json, _table)


@webhook.command("test")
def webhook_test(as_json: AsJson = False) -> None:
    """Send a test message to each webhook now; exit with code 1 unless all of them accept it."""
    with Client() as client, err.status("sending"):
        found = client.send_webhook_test()
    show(found, as_json, _results)
    if any(each["problem"] for each in found):
        raise typer.Exit(1)


@webhook.command("retry")
def webhook_retry(
    message: Annotated[
        int | None,
        typer.Argument(
            min=1,
            metavar="[#]",
            help="Number of the message, shown by `ivota webhook list`. Default: all.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Resend the messages that the cloud has given up on."""
    with Client() as client:
        done = client.retry_webhooks(message)
        show(done, as_json, "messages to resend: {count}".format_map)


def _results(found: list[Json]) -> Table:
    table = titled_table("", "host", "result")
    for each in found:
        table.add_row(cell(each["host"]), cell(each["problem"] or "delivered"))
    return table


def _table(messages: list[Json]) -> Table:
    table = titled_table("", "#", "since", "event", "host", "state", "attempts", "error")
    for each in messages:
        state = "undeliverable" if each["next_at"] is None else "waiting"
        words = (each["id"], date(each["at"]), each["event"], each["host"], state, each["tries"])
        table.add_row(*(cell(str(word)) for word in (*words, each["error"])))
    return table
