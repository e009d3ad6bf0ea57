"""What devices run and are given: `ivota push`, `devices`, `watch`, `why` …; wiring alone."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from ..api_client import ApiError, Client, Json
from . import device_views as views
from .access_views import health_line
from .terminal import AsJson, err, fail, out, print_json, say, show, sure, warn

REPORTS_SHOWN = 50  # of one device
AGAIN_S = 2.0  # after which a lost link to the cloud is tried again

DeviceName = Annotated[str, typer.Argument(help="PRODUCT/NAME, or NAME alone.")]


def push(
    version: Annotated[str, typer.Argument(help="The version of an uploaded firmware.")],
    device: Annotated[list[str], typer.Option("--device", "-d", help="PRODUCT/NAME; repeatable.")],
    application: Annotated[
        str | None, typer.Option(help="Whose firmware, where several have this version.")
    ] = None,
    new: Annotated[
        bool, typer.Option("--new", help="Also for a device that has not reported yet.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show how it goes; return when it is over.")
    ] = False,
    timeout: Annotated[float | None, typer.Option(help="Seconds to wait at most.")] = None,
    as_json: AsJson = False,
) -> None:
    """Give devices a target version; again for one that failed."""
    failed = False
    with Client() as client:
        targets = [
            client.push(name, version, application=application, new=new)["device"]
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
    device: Annotated[
        str | None, typer.Argument(help="Only this one, and what it has reported.")
    ] = None,
    status: Annotated[
        str | None, typer.Option(help="Only those that are accepted, pending or retired.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the devices, or show one and what it has reported."""
    with Client() as client:
        health = client.health()
        if not health["ok"]:
            warn(health_line(health))
        if device is None:
            _all_devices(client, status, as_json)
        else:
            _one_device(client, device, as_json)


def _all_devices(client: Client, status: str | None, as_json: bool) -> None:
    found = client.devices(status)
    if found or as_json:
        return show(found, as_json, views.device_table)
    if status:
        return say(f"no device is {status}")
    say(
        "no device has reported yet: `ivota board install` sets a board up, "
        "`ivota sim board` is a simulated one"
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
    device: Annotated[str | None, typer.Option("--device", "-d", help="Only this one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show updates as they go, until Ctrl-C."""
    with Client() as client, views.watcher(out) as watcher:
        only = None if device is None else client.device(device)["id"]
        tell = print_json if as_json else watcher.show
        after, warned = 0, ""
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
                    # Seen working before: the cloud is being restarted, or the link is bad.
                    if warned != str(error):
                        warned = str(error)
                        warn(f"{warned}; trying again until Ctrl-C")
                    time.sleep(AGAIN_S)
        except KeyboardInterrupt:
            return


def tag(
    device: DeviceName,
    add: Annotated[list[str] | None, typer.Argument(help="Tags to give it.")] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", "-r", help="A tag to take; repeatable.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give a device tags, or take them away."""
    with Client() as client:
        found = client.tag(client.device(device)["id"], add or (), remove or ())
    show(found, as_json, lambda found: " ".join([found["device"], *found["tags"]]))


def secret(
    device: DeviceName,
    value: Annotated[
        str | None,
        typer.Argument(help="In base64. Left out: the device has none, and cannot sign in."),
    ] = None,
) -> None:
    """Set what a device signs in with, for a cloud with --sign-in."""
    with Client() as client:
        found = client.set_secret(client.device(device)["id"], value)
    does = "signs in with this secret" if value else "has no secret, and cannot sign in"
    say(f"{found['device']} {does}")


def why(device: DeviceName, as_json: AsJson = False) -> None:
    """Say what a device waits for."""
    with Client() as client:
        found = client.why(client.device(device)["id"])
    show(found, as_json, "{device} {state}: {why}".format_map)


def attempts(
    device: DeviceName,
    reports: Annotated[
        int | None,
        typer.Option(min=1, metavar="#", help="What it reported in one of them, by its number."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List all that a device was ever given, and how each ended."""
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
        list[str] | None, typer.Argument(help="PRODUCT/NAME, or NAME alone; several.")
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="All that are pending.")] = False,
) -> None:
    """Take devices into the fleet that are pending, or were retired."""
    if bool(device) == everyone:
        fail("name devices, or take all that are pending with --all")
    with Client() as client:
        if everyone:
            say(f"{client.accept_pending()['devices']} devices are accepted")
        for name in device or ():
            say(f"{client.accept_device(client.device(name)['id'])['device']} is accepted")


def retire(device: DeviceName, as_json: AsJson = False) -> None:
    """Give a device nothing any more, and let it sign in no more; its history stays."""
    with Client() as client:
        found = client.retire_device(client.device(device)["id"])
    show(found, as_json, "{device} is retired".format_map)


def delete(
    device: DeviceName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a device, with all that was ever heard of it."""
    with Client() as client:
        found = client.device(device)
        sure(f"Delete {found['device']} for good, with all that was heard of it?", yes)
        client.delete_device(found["id"])
    say(f"{found['device']} is deleted")


def retry(device: DeviceName, as_json: AsJson = False) -> None:
    """Try a device's update again that failed or was cancelled."""
    with Client() as client:
        show(client.retry_device(client.device(device)["id"]), as_json, views.line)


def cancel(device: DeviceName, as_json: AsJson = False) -> None:
    """Take a device's update back, also in mid-download."""
    with Client() as client:
        show(client.cancel_device(client.device(device)["id"]), as_json, views.line)
