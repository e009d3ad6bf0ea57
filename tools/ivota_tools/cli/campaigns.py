"""Define `ivota campaign …` and parse its options."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from ..api_client import Client, Json
from ..common import campaign_options as options
from ..common import times
from . import campaign_views as views
from .device_views import device_table
from .terminal import AsJson, Yes, err, fail, out, print_json, show, span, sure

campaign = typer.Typer(no_args_is_help=True, help="Roll out firmware to many devices in stages.")

Id = Annotated[int, typer.Argument(min=1, help="Campaign number, shown by `ivota campaign list`.")]

POLL_S = 1.0


@campaign.command("create")
def campaign_create(
    version: Annotated[str, typer.Argument(help="Version of uploaded firmware.")],
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
        typer.Option(
            help="Devices reached by the end of each stage, up to 100%. 1,10%,100% means: first "
            "one device, then a tenth of the devices, then all."
        ),
    ] = options.STAGES,
    success: Annotated[
        str,
        typer.Option(
            help="Share of the devices in the stages so far that must succeed before the next "
            "stage starts."
        ),
    ] = options.SUCCESS,
    soak: Annotated[
        str,
        typer.Option(
            help="How long to wait after --success is reached, for example 30s, 10min, 2h or 1d."
        ),
    ] = options.SOAK,
    stop: Annotated[
        str, typer.Option(help="Failure rate that stops the campaign, or `never`.")
    ] = options.STOP,
    stop_on: Annotated[
        str,
        typer.Option(
            help="Which failures count for --stop: `first` (the first failure of a device) or "
            "`last` (only a failure after all retries)."
        ),
    ] = options.STOP_ON,
    least: Annotated[
        int, typer.Option(min=1, help="Minimum number of finished devices before --stop applies.")
    ] = options.LEAST,
    timeout: Annotated[
        str,
        typer.Option(
            help="Time limit for each device, counted from its first push, for example 1d, or "
            "`never`."
        ),
    ] = options.TIMEOUT,
    at_once: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of simultaneous downloads.")
    ] = None,
    per_minute: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of updates to start per minute.")
    ] = None,
    only_outdated: Annotated[
        bool,
        typer.Option(
            "--only-outdated/--all-versions",
            help="Skip devices that run this version or a newer one.",
        ),
    ] = options.ONLY_OUTDATED,
    include_mismatched: Annotated[
        bool,
        typer.Option(
            "--include-mismatched",
            help="Include devices whose application or hardware does not match the firmware.",
        ),
    ] = False,
    start_at: Annotated[
        str | None,
        typer.Option(
            help="Start at this time in UTC, for example 2026-05-01T03:00, or in another zone: "
            "2026-05-01T03:00+02:00, or after a delay: +2h."
        ),
    ] = None,
    draft: Annotated[
        bool,
        typer.Option(
            "--draft", help="Create a draft; start it later with `ivota campaign start`."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan without creating a campaign.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Create a campaign that updates many devices in stages.

    The command shows which devices the campaign would update, and asks before it
    starts the campaign.
    """
    if stop_on not in options.STOPS:
        fail(f"--stop-on must be first or last, not {stop_on!r}")
    if (group is None) == (query is None):
        fail("specify the devices with either --group or --query; `-q all` means every device")
    order = {
        "name": version if name is None else name,
        "version": version,
        "application": application,
        "group": group,
        "query": query,
        "stages": options.stages(stages),
        "success_share": options.share(success),
        "soak_s": options.span(soak),
        "stop_share": None if stop == options.NEVER else options.share(stop),
        "stop_on": stop_on,
        "stop_least": least,
        "timeout_s": None if timeout == options.NEVER else options.span(timeout),
        "active_most": at_once,
        "starts_per_min": per_minute,
        "only_outdated": only_outdated,
        "include_mismatched": include_mismatched,
        "start_at": None if start_at is None else _time(start_at),
        "draft": draft,
    }
    with Client() as client:
        plan = client.plan_campaign(**order)
        if dry_run:
            return show(plan, as_json, views.plan_view)
        if not (yes and as_json):
            err.print(views.plan_view(plan), markup=False)
        if not draft:
            sure(f"{'Schedule' if start_at else 'Start'} this campaign?", yes, "started")
        found = client.create_campaign(**order, plan=plan["mark"])
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
    """Follow a campaign live until it ends or stops, or you press Ctrl-C."""
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
def campaign_start(
    number: Id,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Start a draft, or start a scheduled campaign early.

    The command shows the plan and asks first.
    """
    with Client() as client:
        mark = None
        if client.campaign(number)["state"] in ("draft", "scheduled"):
            plan = client.campaign_plan(number)
            err.print(views.plan_view(plan), markup=False)
            sure("Start this campaign?", yes, "started")
            mark = plan["mark"]
        found = client.start_campaign(number, mark)
    show(found, as_json, views.campaign_view)


@campaign.command("pause")
def campaign_pause(number: Id, as_json: AsJson = False) -> None:
    """Pause a campaign; downloads in progress can finish."""
    _act(number, "pause", as_json)


@campaign.command("resume")
def campaign_resume(number: Id, as_json: AsJson = False) -> None:
    """Resume a campaign that was paused or stopped automatically."""
    _act(number, "resume", as_json)


@campaign.command("cancel")
def campaign_cancel(
    number: Id,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Cancel a campaign permanently.

    The cloud sends no more pushes. Devices that are already downloading may still
    install the update. To stop a campaign temporarily, use `ivota campaign pause`.
    """
    with Client() as client:
        found = client.campaign(number)
    sure(f"Permanently cancel campaign {number}, {found['name']}?", yes, "cancelled")
    _act(number, "cancel", as_json)


@campaign.command("delete")
def campaign_delete(
    number: Id,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete a draft or an ended campaign; devices keep their update history."""
    with Client() as client:
        found = client.campaign(number)
        sure(f"Delete campaign {number} ({found['name']})?", yes, "deleted")
        client.delete_campaign(number)
    show({"id": number, "deleted": True}, as_json, lambda _: f"campaign {number} deleted")


@campaign.command("retry")
def campaign_retry(number: Id, as_json: AsJson = False) -> None:
    """Retry the failed devices of a campaign."""
    with Client() as client:
        found = client.retry_campaign(number)
    show(found, as_json, "retrying {devices} devices".format_map)


def _act(number: int, action: str, as_json: bool) -> None:
    with Client() as client:
        found = client.act_on_campaign(number, action)
    show(found, as_json, views.campaign_view)


def _time(text: str) -> float:
    if text.startswith("+"):
        return time.time() + span(text[1:])
    try:
        return times.parse(text)
    except ValueError:
        fail(
            f"{text!r} is not a valid time: use 2026-05-01T03:00 for UTC, 2026-05-01T03:00+02:00 "
            "or +2h"
        )
