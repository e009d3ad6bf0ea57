"""Define the commands for devices: `ivota push`, `devices`, `watch`, `why` and others."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from ..api_client import ApiError, Client, Json
from . import device_views as views
from .access_views import health_line
from .terminal import AsJson, err, fail, out, print_json, say, show, sure, warn

COMPLETED_MOST = 100  # names that shell completion offers
REPORTS_SHOWN = 50  # per device
AGAIN_S = 2.0  # before reconnecting to the cloud


def _names(incomplete: str) -> list[str]:
    """Complete the name of a device for the shell; an unreachable cloud completes nothing."""
    try:
        with Client() as client:
            found = [each["device"] for each in client.devices()]
    except ApiError:
        return []
    names = [*found, *(name.partition("/")[2] for name in found)]
    return [name for name in names if name.startswith(incomplete)][:COMPLETED_MOST]


DeviceName = Annotated[
    str, typer.Argument(help="PRODUCT/NAME, or just NAME.", autocompletion=_names)
]


def push(
    version: Annotated[str, typer.Argument(help="Version of an uploaded firmware.")],
    device: Annotated[list[str], typer.Option("--device", "-d", help="PRODUCT/NAME; repeatable.")],
    application: Annotated[
        str | None, typer.Option(help="Application of the firmware, if several have this version.")
    ] = None,
    new: Annotated[
        bool, typer.Option("--new", help="Allow a device that has not reported yet.")
    ] = False,
    include_mismatched: Annotated[
        bool,
        typer.Option(
            "--include-mismatched", help="Allow a device with another application or hardware."
        ),
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show the progress and wait for the result.")
    ] = False,
    timeout: Annotated[float | None, typer.Option(help="Maximum wait in seconds.")] = None,
    as_json: AsJson = False,
) -> None:
    """Deploy a version to devices, or retry a failed update."""
    failed = False
    with Client() as client:
        for name in () if new else device:
            client.device(name)  # a wrong name must not leave half of them updated
        targets = [
            client.push(
                name,
                version,
                application=application,
                new=new,
                include_mismatched=include_mismatched,
            )["device"]
            for name in device
        ]
        for target in targets:
            if wait:
                target = _wait(client, target["id"], timeout, quiet=as_json)
                failed = failed or target["state"] != "done"
            elif not as_json:
                say(views.line(target))
            if as_json:
                print_json(target)
    if failed:
        raise typer.Exit(1)


def _wait(client: Client, device_id: int, timeout_s: float | None, quiet: bool) -> Json:
    last: Json = {}
    with views.watcher(err if quiet else out) as watcher:
        for last in client.wait(device_id, timeout_s):
            if not quiet:
                watcher.show(last)
    return last


def devices(
    device: Annotated[str | None, typer.Argument(help="Show this device and its reports.")] = None,
    status: Annotated[
        str | None,
        typer.Option(help="List only devices with this status: accepted, pending or retired."),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(help="List only devices that match this query, such as 'version<0.3'."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the devices, or show one device and its reports."""
    if where is not None and (status or device):
        fail("--where lists accepted devices: use it without --status and without a device")
    with Client() as client:
        health = client.health()
        if not health["ok"]:
            warn(health_line(health))
        if device is None:
            _all_devices(client, status, where, as_json)
        else:
            _one_device(client, device, as_json)


def _all_devices(client: Client, status: str | None, where: str | None, as_json: bool) -> None:
    found = client.devices(status) if where is None else client.query(where)
    found.sort(key=lambda device: str(device["device"]))
    if found or as_json:
        return show(found, as_json, views.device_table)
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
    why = client.why(found["id"])["why"]
    reports = client.reports(found["id"])
    if as_json:
        return print_json({**found, "why": why, "reports": reports})
    out.print(views.device_table([found]))
    say(why)
    out.print(views.report_table(reports[-REPORTS_SHOWN:]))


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


def tag(
    device: DeviceName,
    add: Annotated[list[str] | None, typer.Argument(help="Tags to add.")] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", "-r", help="Tag to remove; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Add tags to a device, or remove them."""
    with Client() as client:
        found = client.tag(client.device(device)["id"], add or (), remove or ())
    show(found, as_json, lambda found: " ".join([found["device"], *found["tags"]]))


def secret(
    device: DeviceName,
    value: Annotated[str | None, typer.Argument(help="Secret in base64.")] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the secret: the device cannot sign in.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Skip the confirmation prompt.")] = False,
    as_json: AsJson = False,
) -> None:
    """Set the secret that a device signs in with, for a cloud with --sign-in."""
    if remove == bool(value):
        fail("specify the secret, or use --remove to remove the device's secret")
    with Client() as client:
        number = client.device(device)["id"]
        if value:
            found = client.set_secret(number, value)
        else:
            sure(f"Remove the secret of {device}? The device can no longer sign in.", yes)
            found = client.remove_secret(number)
    does = "signs in with this secret" if value else "has no secret, and cannot sign in"
    show(found, as_json, lambda found: f"{found['device']} {does}")


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
                fail(f"{device} has {len(found)} attempts: `ivota attempts {device}` lists them")
            said = client.attempt_reports(found[reports - 1]["id"])
            return show(said, as_json, views.report_table)
        versions = {each["id"]: each["version"] for each in client.firmware()}
    show(found, as_json, lambda found: views.attempt_table(found, versions))


def accept(
    device: Annotated[
        list[str] | None, typer.Argument(help="PRODUCT/NAME, or just NAME; repeatable.")
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Accept all pending devices.")] = False,
    as_json: AsJson = False,
) -> None:
    """Accept pending or retired devices into the fleet."""
    if bool(device) == everyone:
        fail("specify devices, or use --all to accept all pending devices")
    with Client() as client:
        if everyone:
            show(client.accept_pending(), as_json, "{devices} devices accepted".format_map)
        for name in device or ():
            found = client.accept_device(client.device(name)["id"])
            show(found, as_json, "{device} accepted".format_map)


def retire(device: DeviceName, as_json: AsJson = False) -> None:
    """Retire a device: stop its updates, block its sign-in, keep its history."""
    with Client() as client:
        found = client.retire_device(client.device(device)["id"])
    show(found, as_json, "{device} retired".format_map)


def delete(
    device: DeviceName,
    yes: Annotated[bool, typer.Option("--yes", help="Skip the confirmation prompt.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a device and its entire history. A device that still runs joins again."""
    with Client() as client:
        found = client.device(device)
        sure(f"Permanently delete {found['device']} and its entire history?", yes, "deleted")
        client.delete_device(found["id"])
    show(found, as_json, "{device} deleted".format_map)


def retry(device: DeviceName, as_json: AsJson = False) -> None:
    """Retry a device's failed or cancelled update."""
    with Client() as client:
        show(client.retry_device(client.device(device)["id"]), as_json, views.line)


def cancel(device: DeviceName, as_json: AsJson = False) -> None:
    """Cancel an update, even mid-download."""
    with Client() as client:
        show(client.cancel_device(client.device(device)["id"]), as_json, views.line)
