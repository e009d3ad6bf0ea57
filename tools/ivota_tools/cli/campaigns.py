"""`ivota campaign …`: what can be typed, and what it says when that is not understood."""

from __future__ import annotations

import datetime
import time
from typing import Annotated

import typer

from ..api_client import Client, Json
from . import campaign_views as views
from .device_views import device_table
from .terminal import AsJson, fail, out, print_json, say, show, span, sure

campaign = typer.Typer(no_args_is_help=True, help="One firmware for many devices, in stages.")

Id = Annotated[int, typer.Argument(min=1, help="Its number, as `ivota campaign list` shows it.")]

POLL_S = 1.0


@campaign.command("create")
def campaign_create(
    version: Annotated[str, typer.Argument(help="The version of an uploaded firmware.")],
    name: Annotated[
        str | None, typer.Option(help="What to call it; default: the version.")
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", "-g", help="For the devices of a group.")
    ] = None,
    query: Annotated[
        str | None,
        typer.Option("--query", "-q", help="For those that a query means; `all`: everyone."),
    ] = None,
    application: Annotated[
        str | None, typer.Option(help="Whose firmware, where several have this version.")
    ] = None,
    stages: Annotated[
        str,
        typer.Option(
            help="How many devices are reached by the end of each, as in 1,10%,50%,100%."
        ),
    ] = "100%",
    success: Annotated[
        str, typer.Option(help="Share of those reached that must be done before the next stage.")
    ] = "90%",
    soak: Annotated[
        str, typer.Option(help="How long to wait after that: 30s, 10min, 2h, 1d.")
    ] = "0s",
    stop: Annotated[
        str, typer.Option(help="Share of failures that stops it, or `never`.")
    ] = "20%",
    least: Annotated[
        int, typer.Option(min=1, help="How many devices must have ended before failures stop it.")
    ] = 10,
    timeout: Annotated[
        str | None,
        typer.Option(
            help="A device that is not done so long after its first push has failed: 30min, 1d."
        ),
    ] = None,
    at_once: Annotated[int | None, typer.Option(min=1, help="Most downloads at a time.")] = None,
    per_minute: Annotated[
        int | None, typer.Option(min=1, help="Most devices begun in a minute.")
    ] = None,
    only_outdated: Annotated[
        bool,
        typer.Option(
            "--only-outdated", help="Leave out devices that run this version or a newer one."
        ),
    ] = False,
    start_at: Annotated[
        str | None,
        typer.Option(help="Start later: 2026-05-01T03:00 (by this computer's clock), or +2h."),
    ] = None,
    draft: Annotated[
        bool,
        typer.Option("--draft", help="Make it, but do not start it: `ivota campaign start` does."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Update many devices, a stage after the other."""
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
    devices: Annotated[bool, typer.Option("--devices", help="List its devices, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how far a campaign is."""
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
    """Show a campaign as it goes, until it has ended, stopped, or Ctrl-C."""
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
    """Start a draft, or a scheduled one before its time."""
    _act(number, "start", as_json)


@campaign.command("pause")
def campaign_pause(number: Id, as_json: AsJson = False) -> None:
    """Push no more until it is resumed; downloads that run may end."""
    _act(number, "pause", as_json)


@campaign.command("resume")
def campaign_resume(number: Id, as_json: AsJson = False) -> None:
    """Go on after a pause, also where it has stopped by itself."""
    _act(number, "resume", as_json)


@campaign.command("cancel")
def campaign_cancel(number: Id, as_json: AsJson = False) -> None:
    """End it for good: no pushes any more, also in mid-download."""
    _act(number, "cancel", as_json)


@campaign.command("delete")
def campaign_delete(
    number: Id, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Delete a draft, or one that has ended; its devices keep what became of them."""
    with Client() as client:
        found = client.campaign(number)
        sure(f"Delete campaign {number}, {found['name']}?", yes)
        client.delete_campaign(number)
    say(f"campaign {number} is deleted")


@campaign.command("retry")
def campaign_retry(number: Id, as_json: AsJson = False) -> None:
    """Try the devices again that failed, and no others."""
    with Client() as client:
        found = client.retry_campaign(number)
    show(found, as_json, "{devices} devices are tried again".format_map)


def _act(number: int, action: str, as_json: bool) -> None:
    with Client() as client:
        found = client.act_on_campaign(number, action)
    show(found, as_json, views.campaign_view)


def _stage(text: str) -> Json:
    number = text.strip().removesuffix("%")
    try:
        return {"percent": float(number)} if text.strip().endswith("%") else {"count": int(number)}
    except ValueError:
        fail(f"{text!r} is no stage: a number of devices, or a share like 10%")


def _share(text: str) -> float:
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        fail(f"{text!r} is no share: from 0% to 100%, as in 90% or 0.9")
    return share


def _time(text: str) -> float:
    if text.startswith("+"):
        return time.time() + span(text[1:])
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        fail(f"{text!r} is no time: 2026-05-01T03:00, or +2h")
