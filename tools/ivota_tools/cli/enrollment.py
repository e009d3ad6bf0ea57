"""Define `ivota device …`: enroll devices and set what they are for."""

from __future__ import annotations

import enum
import json
import os
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from ..api_client import Client, Json
from ..common import device_list
from . import device_views as views
from .terminal import AsJson, fail, print_json, reading, say, show

device = typer.Typer(no_args_is_help=True, help="Enroll devices and set their properties.")


class Property(enum.Enum):
    """What a device is for."""

    APPLICATION = "application"
    HARDWARE = "hardware"


Application = Annotated[
    str | None, typer.Option(help="Name of the application that the device runs.")
]
Hardware = Annotated[
    str | None, typer.Option(help="The device's hardware, for example esp32c3 or rev-b.")
]


@device.command("add")
def add(
    name: Annotated[str, typer.Argument(help="PRODUCT/NAME.")],
    application: Application = None,
    hardware: Hardware = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="Tag; repeatable.")] = None,
    out_file: Annotated[
        Path, typer.Option("--out", help="File for the board's configuration.")
    ] = Path("board.json"),
    as_json: AsJson = False,
) -> None:
    """Enroll a device and write the board.json for its board."""
    _expect_new(out_file)
    order = {"device": name, "application": application, "hardware": hardware, "tags": tag or []}
    with Client() as client:
        (made,) = client.add_devices([order])
    _write(out_file, made["board"])
    if as_json:
        return print_json(made)
    say(f"{made['device']['device']} added; {out_file}: enter the Wi-Fi network, then")
    say(f"ivota board install --config {out_file}")


@device.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(help="CSV file: product,name and optionally application,hardware,tags."),
    ],
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for a board.json of each device.")
    ] = Path("boards"),
    as_json: AsJson = False,
) -> None:
    """Enroll the devices in a CSV file, all or none, and write a board.json for each."""
    with reading():
        text = file.read_text()
    try:
        orders = device_list.read(text)
    except (device_list.ListError, UnicodeDecodeError) as error:
        fail(f"{file}: {error}")
    places = {each["device"]: folder / quote(each["device"], safe="") for each in orders}
    for place in places.values():
        _expect_new(place / "board.json")
    with Client() as client:
        made = client.add_devices(orders)
    for each in made:
        _write(places[each["device"]["device"]] / "board.json", each["board"])
    if as_json:
        return print_json(made)
    say(
        f"{len(made)} devices added; {folder} has a board.json for each: "
        "enter your Wi-Fi network in each file"
    )


def _expect_new(place: Path) -> None:
    """Check the file before the device is created, because its secret is shown only once."""
    if place.exists():
        fail(f"{place} already exists: move it, or choose another place with --out")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"cannot create {place.parent}: {error.strerror}")


def _write(place: Path, board: Json) -> None:
    """Write a file that only its owner can read: it may contain a secret."""
    text = json.dumps(board, ensure_ascii=False, indent=2) + "\n"
    try:
        with os.fdopen(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(text)
    except OSError as error:
        say(text)  # the secret cannot be shown again
        fail(
            f"cannot write {place} ({error.strerror}): "
            "copy the configuration from the output above"
        )


@device.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="PRODUCT/NAME, or just NAME.")],
    application: Application = None,
    hardware: Hardware = None,
    forget: Annotated[
        list[Property] | None,
        typer.Option("--forget", help="Make a property unknown again; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set a device's application and hardware.

    Campaigns and pushes send a device only firmware for its application and
    hardware.
    """
    given = {"application": application, "hardware": hardware}
    if all(value is None for value in given.values()) and not forget:
        fail("specify --application, --hardware or --forget")
    for each in Property:
        if given[each.value] == "":
            fail(f"the {each.value} is empty: to make it unknown, use --forget {each.value}")
    for each in forget or ():
        if given[each.value] is not None:
            fail(f"specify either --{each.value} or --forget {each.value}")
        given[each.value] = ""
    application, hardware = given["application"], given["hardware"]
    with Client() as client:
        found = client.set_device(client.device(name)["id"], application, hardware)
    show(found, as_json, views.kind_line)
