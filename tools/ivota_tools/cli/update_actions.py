"""Define the commands of an update of devices: `ivota push`, `retry` and `cancel`."""

from __future__ import annotations

from typing import Annotated

import typer

from ..api_client import Client, Json
from . import bulk_actions
from . import device_views as views
from .bulk_actions import DryRun, Where
from .device_names import OneDevice, complete_name
from .terminal import AsJson, Yes, err, fail, out, print_json, say, show


def push(
    version: Annotated[str, typer.Argument(help="Version of uploaded firmware.")],
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device", "-d", help="PRODUCT/NAME; repeatable.", autocompletion=complete_name
        ),
    ] = None,
    application: Annotated[
        str | None, typer.Option(help="Application of the firmware, if several have this version.")
    ] = None,
    new: Annotated[
        bool, typer.Option("--new", help="Allow a device that has not reported yet.")
    ] = False,
    include_mismatched: Annotated[
        bool,
        typer.Option(
            "--include-mismatched",
            help="Allow a device whose application or hardware does not match the firmware.",
        ),
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Show the progress and wait for the result.")
    ] = False,
    timeout: Annotated[float | None, typer.Option(help="Maximum wait in seconds.")] = None,
    where: Where = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Deploy a version to devices, or retry a failed update.

    With --where, devices that already run the version or are updating to it are skipped.
    """
    devices = bulk_actions.one(device or None, where, dry_run)
    if devices is None:
        assert where is not None
        if new or wait or timeout is not None:
            fail("--new, --wait and --timeout cannot be used with --where")
        with Client() as client:
            chosen = _find_firmware(client, version, application)
        of = f" of {chosen['application']}" if chosen["application"] else ""
        others = ", regardless of their application and hardware" if include_mismatched else ""
        return bulk_actions.act(
            where, "push", "started", question=f"Update {{}} to {version}{of}{others}?",
            yes=yes, dry_run=dry_run, as_json=as_json,
            firmware_id=chosen["id"], include_mismatched=include_mismatched,
        )  # fmt: skip
    failed = False
    with Client() as client:
        for name in () if new else devices:
            client.device(name)  # a wrong name must not leave half of them updated
        targets = [
            client.push(
                name,
                version,
                application=application,
                new=new,
                include_mismatched=include_mismatched,
            )["device"]
            for name in devices
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


def _find_firmware(client: Client, version: str, application: str | None) -> Json:
    """Return the newest upload of a version; several applications with it end the command."""
    found = [
        each
        for each in client.firmware()
        if (each["version"], each["whole_id"]) == (version, None)
        and application in (None, each["application"])
    ]
    if not found:
        whose = f" of the application {application!r}" if application is not None else ""
        fail(
            f"firmware {version!r}{whose} does not exist: list the firmware with `ivota firmware`"
        )
    names = sorted({each["application"] or "(none)" for each in found})
    if len(names) > 1:
        fail(f"several applications have a version {version!r} ({', '.join(names)}): "
             "choose one with --application")  # fmt: skip
    return max(found, key=lambda each: int(each["id"]))


def retry(
    device: OneDevice = None,
    where: Where = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Retry a device's failed or cancelled update, or all failed updates of devices that match a
    query.
    """
    name = bulk_actions.one(device, where, dry_run)
    if name is None:
        assert where is not None
        return bulk_actions.act(
            where, "retry", "retried", question="Retry the failed update of {}?",
            yes=yes, dry_run=dry_run, as_json=as_json,
        )  # fmt: skip
    with Client() as client:
        show(client.retry_device(client.device(name)["id"]), as_json, views.line)


def cancel(
    device: OneDevice = None,
    where: Where = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Cancel a device's update, or the updates of all devices that match a query.

    The cloud sends no more pushes. A device that is already downloading may still
    install the update.
    """
    name = bulk_actions.one(device, where, dry_run)
    if name is None:
        assert where is not None
        return bulk_actions.act(
            where, "cancel", "cancelled",
            question="Cancel the update of {}? A device that is downloading may still install it.",
            yes=yes, dry_run=dry_run, as_json=as_json,
        )  # fmt: skip
    with Client() as client:
        show(client.cancel_device(client.device(name)["id"]), as_json, views.line)
