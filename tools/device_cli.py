"""`ivota tag`, `why`, `attempts` …: one device, or what there is to give to it; wiring alone."""

from __future__ import annotations

from typing import Annotated

import typer

from . import fleet_views as views
from .client_api import Client
from .terminal import AsJson, out, print_json

DeviceName = Annotated[str, typer.Argument(help="PRODUCT/NAME, or NAME alone.")]


def tag(
    device: DeviceName,
    add: Annotated[list[str] | None, typer.Argument(help="Tags to give.")] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", "-r", help="To take.")] = None,
    as_json: AsJson = False,
) -> None:
    """Give a device tags, or take them away."""
    with Client() as client:
        found = client.tag(client.device(device)["id"], add or (), remove or ())
    if as_json:
        print_json(found)
    else:
        out.print(found["device"], *found["tags"], markup=False)


def secret(
    device: DeviceName,
    value: Annotated[str | None, typer.Argument(help="Base64; without it, none.")] = None,
) -> None:
    """What a device signs in with, where the cloud runs with --sign-in."""
    with Client() as client:
        client.set_secret(client.device(device)["id"], value)


def why(device: DeviceName, as_json: AsJson = False) -> None:
    """Say what a device waits for."""
    with Client() as client:
        found = client.why(client.device(device)["id"])
    if as_json:
        print_json(found)
    else:
        out.print(f"{found['device']} {found['state']}: {found['why']}", markup=False)


def attempts(device: DeviceName, as_json: AsJson = False) -> None:
    """List every target that a device was ever given, and how each ended."""
    with Client() as client:
        found = client.attempts(client.device(device)["id"])
        versions = {each["id"]: each["version"] for each in client.firmware()}
    if as_json:
        print_json(found)
    else:
        out.print(views.attempt_table(found, versions))


def retry(device: DeviceName, as_json: AsJson = False) -> None:
    """Try a device's update again, after it failed or was cancelled."""
    _act_on_device(device, "retry", as_json)


def cancel(device: DeviceName, as_json: AsJson = False) -> None:
    """Take a device's update back: no push any more, also in mid-download."""
    _act_on_device(device, "cancel", as_json)


def _act_on_device(device: str, action: str, as_json: bool) -> None:
    with Client() as client:
        number = client.device(device)["id"]
        act = client.retry_device if action == "retry" else client.cancel_device
        found = act(number)
    if as_json:
        print_json(found)
    else:
        out.print(views.line(found), markup=False, soft_wrap=True)


def firmware(as_json: AsJson = False) -> None:
    """List the firmware that can be pushed."""
    with Client() as client:
        found = client.firmware()
    if as_json:
        print_json(found)
    else:
        out.print(views.firmware_table(found))
