"""Define `ivota channel cloud …`: channels that a cloud serves."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from ..api_client import Client, Json
from ..channel import folder as channels
from ..channel.index import NAME
from . import channel_options as options
from . import channel_views as views
from .progress_bars import bars
from .terminal import AsJson, err, fail, print_json, reading, say, warn

app = typer.Typer(
    no_args_is_help=True,
    help="Manage the channels of a cloud that runs with `ivota cloud --channel`.",
)

Product = Annotated[str, typer.Argument(help="Product of the channel.")]


@app.command()
def upload(folder: options.Folder, as_json: AsJson = False) -> None:
    """Mirror a channel's folder in the cloud: upload its firmware, then its index.

    Boards see the old channel until the upload is complete. If the upload is
    interrupted, run the command again: it uploads only the files that the cloud
    lacks.
    """
    with reading(), Client() as client, bars(err) as begin:
        data = (folder / NAME).read_bytes()
        index = channels.load(folder, None)
        if problems := channels.problems(folder, index):
            fail(f"{folder}: {problems[0]}")
        for name in client.missing_in_channel(index.product, data):
            client.upload_to_channel(index.product, folder / name, begin(name))
        found = client.publish_channel(index.product, data)
    _show([found], as_json)


@app.command()
def status(
    product: Annotated[str | None, typer.Argument(help="Show only this product.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the cloud's channels; exit with code 1 if any of them is unusable for boards."""
    with Client() as client:
        found = client.channels() if product is None else [client.channel(product)]
    _show(found, as_json)
    if any(each["problem"] for each in found):
        raise typer.Exit(1)


@app.command()
def offer(
    product: Product,
    version: Annotated[str, typer.Argument(help="Version of signed firmware in the cloud.")],
    application: Annotated[
        str | None, typer.Option(help="Application, if several have this version.")
    ] = None,
    track: options.Track = "stable",
    share: Annotated[
        int | None,
        typer.Option(
            help="Percentage of boards that get this version. Default: the percentage of the "
            "current offer, or 100 for a new offer."
        ),
    ] = None,
    not_before: Annotated[
        datetime | None,
        typer.Option(
            formats=options.TIME_FORMATS,
            help="Earliest time, in UTC, to install this version. Default: the time of the "
            "current offer; a time in the past removes this limit.",
        ),
    ] = None,
    deltas: Annotated[
        int, typer.Option(min=0, max=8, help="Maximum number of uploaded deltas to offer.")
    ] = channels.DELTAS,
    as_json: AsJson = False,
) -> None:
    """Offer the cloud's firmware in a channel, or change the share of an offer.

    The cloud signs the index with its --channel-key. The channel offers the
    firmware and the deltas exactly as `ivota release` signed and uploaded them.
    """
    with Client() as client:
        firmware = _firmware(client, version, application)
        order = {"track": track, "share": share, "deltas": deltas}
        since = options.unix_time(not_before)
        found = client.offer_in_channel(product, firmware["id"], not_before=since, **order)
    _show([found], as_json)


@app.command()
def end(
    product: Product,
    version: options.Version,
    track: options.Track = "stable",
    as_json: AsJson = False,
) -> None:
    """Stop offering a version. Boards that run it keep it."""
    with Client() as client:
        found = client.end_in_channel(product, version, track)
    _show([found], as_json)


def _firmware(client: Client, version: str, application: str | None) -> Json:
    """Return the newest upload of a version."""
    found = [
        each
        for each in client.firmware()
        if each["version"] == version
        and each["whole_id"] is None
        and application in (None, each["application"])
    ]
    if not found:
        fail(f"the cloud has no firmware {version}: list the firmware with `ivota firmware`")
    names = sorted({each["application"] or "(none)" for each in found})
    if len(names) > 1:
        fail(
            f"several applications have a version {version} ({', '.join(names)}): choose one "
            "with --application"
        )
    return found[-1]


def _show(found: list[Json], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    if not found:
        say("the cloud serves no channel: start it with --channel PRODUCT=FILE")
    for each in found:
        views.show_served(each)
        if each["problem"]:
            warn(f"boards cannot use the channel of {each['product']}: {each['problem']}")
