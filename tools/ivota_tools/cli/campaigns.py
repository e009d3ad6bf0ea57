"""Define `ivota campaign …` and parse its options."""

from __future__ import annotations

import datetime
import time
from typing import Annotated

import typer

from ..api_client import Client, Json
from . import campaign_views as views
from .device_views import device_table
from .terminal import AsJson, fail, out, print_json, say, show, span, sure

campaign = typer.Typer(no_args_is_help=True, help="Roll out firmware to many devices in stages.")

Id = Annotated[int, typer.Argument(min=1, help="Campaign number, shown by `ivota campaign list`.")]

POLL_S = 1.0


@campaign.command("create")
def campaign_create(
    version: Annotated[str, typer.Argument(help="Version of an uploaded firmware.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the campaign (default: the version).")
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", "-g", help="Update the devices in this group.")
    ] = None,
    query: Annotated[
        str | None,
        typer.Option(
            "--query",
            "-q",
            help="Update the devices that match this query; `all` matches every device.",
        ),
    ] = None,
    application: Annotated[
        str | None, typer.Option(help="Application of the firmware, if several have this version.")
    ] = None,
    stages: Annotated[
        str,
        typer.Option(help="Cumulative size of each stage, for example 1,10%,50%,100%."),
    ] = "100%",
    success: Annotated[
        str,
        typer.Option(
            help="Share of the devices reached so far that must be done before the next stage."
        ),
    ] = "90%",
    soak: Annotated[
        str,
        typer.Option(
            help="How long to wait after --success is reached, for example 30s, 10min, 2h or 1d."
        ),
    ] = "0s",
    stop: Annotated[
        str, typer.Option(help="Failure rate that stops the campaign, or `never`.")
    ] = "20%",
    least: Annotated[
        int, typer.Option(min=1, help="Minimum number of finished devices before --stop applies.")
    ] = 10,
    timeout: Annotated[
        str | None,
        typer.Option(
            help="Time after the first push at which an unfinished device fails, for example 1d."
        ),
    ] = None,
    at_once: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of simultaneous downloads.")
    ] = None,
    per_minute: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of devices to start per minute.")
    ] = None,
    only_outdated: Annotated[
        bool,
        typer.Option("--only-outdated", help="Skip devices that run this version or a newer one."),
    ] = False,
    start_at: Annotated[
        str | None,
        typer.Option(
            help="Start at this local time, for example 2026-05-01T03:00, or after a delay: +2h."
        ),
    ] = None,
    draft: Annotated[
        bool,
        typer.Option(
            "--draft", help="Create a draft; start it later with `ivota campaign start`."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create a campaign that updates many devices in stages."""
    with Client() as client:
        found = client.create_campaign(
            name=name or version,
            version=version,
            application=application,
            group=group,
            query=query,
            stages=[_stage(each) for each in stages.split(",")],
            success_share=_share(success),
            soak_s=span(soak),
            stop_share=None if stop == "never" else _share(stop),
            stop_least=least,
            timeout_s=span(timeout) if timeout else None,
            active_most=at_once,
            starts_per_min=per_minute,
            only_outdated=only_outdated,
            start_at=_time(start_at) if start_at else None,
            draft=draft,
        )
    show(found, as_json, views.campaign_view)


@campaign.command("list")
def campaign_list(as_json: AsJson = False) -> None:
    """List the campaigns."""
    with Client() as client:
        show(client.campaigns(), as_json, views.campaign_table)


@campaign.command("show")
def campaign_show(
    number: Id,
    devices: Annotated[
        bool, typer.Option("--devices", help="Also list the campaign's devices.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the progress of a campaign."""
    with Client() as client:
        found = client.campaign(number)
        members = client.campaign_devices(number) if devices else []
    if as_json:
        print_json({**found, "devices": members} if devices else found)
        return
    out.print(views.campaign_view(found))
    if devices:
        out.print(device_table(members))


@campaign.command("watch")
def campaign_watch(number: Id, as_json: AsJson = False) -> None:
    """Follow a campaign live until it ends, it stops, or you press Ctrl-C."""
    shown: Json | None = None
    with Client() as client, views.live(out) as update:
        try:
            while True:
                found = client.campaign(number)
                if found != shown:
                    if as_json:
                        print_json(found)
                    else:
                        update(found)
                shown = found
                if found["state"] in ("finished", "cancelled", "stopped"):
                    break
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            return
    if found["state"] != "finished":
        raise typer.Exit(1)


@campaign.command("start")
def campaign_start(number: Id, as_json: AsJson = False) -> None:
    """Start a draft, or start a scheduled campaign early."""
    _act(number, "start", as_json)


@campaign.command("pause")
def campaign_pause(number: Id, as_json: AsJson = False) -> None:
    """Pause a campaign; running downloads may finish."""
    _act(number, "pause", as_json)


@campaign.command("resume")
def campaign_resume(number: Id, as_json: AsJson = False) -> None:
    """Resume a campaign that was paused or stopped automatically."""
    _act(number, "resume", as_json)


@campaign.command("cancel")
def campaign_cancel(number: Id, as_json: AsJson = False) -> None:
    """Cancel a campaign permanently, including running downloads."""
    _act(number, "cancel", as_json)


@campaign.command("delete")
def campaign_delete(
    number: Id,
    yes: Annotated[bool, typer.Option("--yes", help="Skip the confirmation prompt.")] = False,
) -> None:
    """Delete a draft or an ended campaign; devices keep their update history."""
    with Client() as client:
        found = client.campaign(number)
        sure(f"Delete campaign {number}, {found['name']}?", yes)
        client.delete_campaign(number)
    say(f"campaign {number} deleted")


@campaign.command("retry")
def campaign_retry(number: Id, as_json: AsJson = False) -> None:
    """Retry only the devices that failed."""
    with Client() as client:
        found = client.retry_campaign(number)
    show(found, as_json, "retrying {devices} devices".format_map)


def _act(number: int, action: str, as_json: bool) -> None:
    with Client() as client:
        found = client.act_on_campaign(number, action)
    show(found, as_json, views.campaign_view)


def _stage(text: str) -> Json:
    number = text.strip().removesuffix("%")
    try:
        return {"percent": float(number)} if text.strip().endswith("%") else {"count": int(number)}
    except ValueError:
        fail(f"{text!r} is not a valid stage: use a number of devices, or a share such as 10%")


def _share(text: str) -> float:
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        fail(f"{text!r} is not a valid share: use 0% to 100%, for example 90% or 0.9")
    return share


def _time(text: str) -> float:
    if text.startswith("+"):
        return time.time() + span(text[1:])
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        fail(f"{text!r} is not a valid time: use 2026-05-01T03:00 or +2h")
