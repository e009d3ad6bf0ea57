"""Define the commands that show devices: `ivota devices`, `watch`, `why` and `attempts`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from ..api_client import ApiError, Client
from . import device_views as views
from .access_views import health_line
from .device_names import DeviceName
from .device_order import Sort, order, parts, summary
from .terminal import AsJson, fail, out, print_json, say, show, warn

REPORTS_SHOWN = 50  # per device
AGAIN_S = 2.0  # before reconnecting to the cloud


def devices(
    device: Annotated[str | None, typer.Argument(help="Show this device and its reports.")] = None,
    status: Annotated[
        str | None,
        typer.Option(help="List only devices with this status: accepted, pending or retired."),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            help="List only devices that match this query, such as 'version<0.3' or "
            "'state:attention'."
        ),
    ] = None,
    sort: Annotated[
        Sort, typer.Option(help="Sort order; attention puts devices that need attention first.")
    ] = Sort.ATTENTION,
    as_json: AsJson = False,
) -> None:
    """List the devices, or show one device and its reports.

    The list starts with failed devices. Next come devices whose update has stalled,
    devices that the cloud will retry, devices that have been silent for too long (an
    hour or more), devices that have never reported, devices that are updating, and
    all others.
    """
    if where is not None and (status or device):
        fail("--where lists accepted devices: use it without --status and without a device")
    with Client() as client:
        health = client.health()
        if not health["ok"]:
            warn(health_line(health))
        if device is None:
            _all_devices(client, status, where, sort, as_json)
        else:
            _one_device(client, device, as_json)


def _all_devices(
    client: Client, status: str | None, where: str | None, sort: Sort, as_json: bool
) -> None:
    if where is not None and not where.strip():
        fail("the query is empty: specify which devices, or `all` for all devices")
    found = client.devices(status) if where is None else client.query(where)
    found.sort(key=order(sort))
    if found or as_json:
        show(found, as_json, lambda found: views.device_table(found, by_part=parts(found, sort)))
        if not as_json:
            say(summary(found))
        return None
    if where is not None:
        return say(f"no devices match {where!r}")
    if status:
        return say(f"no devices are {status}")
    say(
        "no device has reported yet: set up a board with `ivota board install`, or start a "
        "simulated one with `ivota sim board`"
    )


def _one_device(client: Client, name: str, as_json: bool) -> None:
    found = client.device(name)
    explained = client.why(found["id"])
    reports = client.reports(found["id"])
    if as_json:
        return print_json({**found, **explained, "reports": reports})
    out.print(views.device_table([found]))
    say(explained["why"])
    if watchdog := views.watchdog_line(explained):
        say(watchdog)
    if interval := views.interval_line(found, explained):
        say(interval)
    show(reports[-REPORTS_SHOWN:], False, views.report_table)


def watch(
    device: Annotated[
        str | None, typer.Option("--device", "-d", help="Show only this device.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Follow updates live, from now until Ctrl-C."""
    with Client() as client, views.watcher(out) as watcher:
        only = None if device is None else client.device(device)["id"]
        tell = print_json if as_json else watcher.show
        after, warned = client.revision() if only is None else 0, ""
        try:
            while True:
                try:
                    for changed in client.events(after):
                        after, warned = changed["revision"], ""
                        if only is None or changed["id"] == only:
                            tell(changed)
                except ApiError as error:
                    if error.status or not after:
                        raise
                    # The stream worked before: the cloud is restarting, or the link is bad.
                    if warned != str(error):
                        warned = str(error)
                        warn(f"{warned}; retrying until Ctrl-C")
                    time.sleep(AGAIN_S)
        except KeyboardInterrupt:
            return


def why(device: DeviceName, as_json: AsJson = False) -> None:
    """Explain why a device is waiting."""
    with Client() as client:
        named = client.device(device)
        found = client.why(named["id"])
    show(found, as_json, lambda found: views.why_line(found, named))


def attempts(
    device: DeviceName,
    reports: Annotated[
        int | None,
        typer.Option(min=1, metavar="#", help="Show the reports of the attempt with this number."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List a device's update attempts and their results."""
    with Client() as client:
        found = client.attempts(client.device(device)["id"])
        if reports is not None:
            if reports > len(found):
                fail(
                    f"{device} has no attempt {reports}: list the attempts with `ivota attempts "
                    f"{device}`"
                )
            said = client.attempt_reports(found[reports - 1]["id"])
            return show(said, as_json, views.report_table)
        versions = {each["id"]: each["version"] for each in client.firmware()}
    show(found, as_json, lambda found: views.attempt_table(found, versions))
