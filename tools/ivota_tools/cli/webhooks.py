"""Define `ivota webhook …`."""

from __future__ import annotations

import typer
from rich.table import Table

from ..api_client import Client, Json
from .terminal import AsJson, cell, show, titled_table
from .times import date

webhook = typer.Typer(no_args_is_help=True, help="Test webhooks, and see what they missed.")


@webhook.command("list")
def webhook_list(as_json: AsJson = False) -> None:
    """List the messages that wait for a webhook, or that the cloud has given up."""
    with Client() as client:
        show(client.webhook_messages(), as_json, _table)


@webhook.command("test")
def webhook_test(as_json: AsJson = False) -> None:
    """Send a test message to each webhook."""
    with Client() as client:
        show(client.send_webhook_test(), as_json, "test messages: {count}".format_map)


@webhook.command("retry")
def webhook_retry(as_json: AsJson = False) -> None:
    """Send all messages again that the cloud has given up."""
    with Client() as client:
        show(client.retry_webhooks(), as_json, "messages that wait again: {count}".format_map)


def _table(messages: list[Json]) -> Table:
    table = titled_table("", "#", "since", "event", "host", "state", "tries", "error")
    for each in messages:
        state = "given up" if each["next_at"] is None else "waiting"
        words = (each["id"], date(each["at"]), each["event"], each["host"], state, each["tries"])
        table.add_row(*(cell(str(word)) for word in (*words, each["error"])))
    return table
