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
from ..common import device_list, wifi_network
from ..common.api_connection import LOOPBACK
from ..common.wifi_network import PLACEHOLDER
from . import bulk_actions
from . import device_views as views
from .bulk_actions import DryRun, Where
from .device_names import OneDevice
from .terminal import AsJson, ask_secret, fail, print_json, reading, say, show

device = typer.Typer(no_args_is_help=True, help="Enroll devices and set their properties.")


class Property(enum.Enum):
    """What a device is for."""

    APPLICATION = "application"
    HARDWARE = "hardware"


Wifi = Annotated[
    str | None,
    typer.Option("--wifi", metavar="NAME", help="Name of the Wi-Fi network that the board joins."),
]
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
    wifi: Wifi = None,
    out_file: Annotated[
        Path, typer.Option("--out", help="File for the board's configuration.")
    ] = Path("board.json"),
    as_json: AsJson = False,
) -> None:
    """Enroll a device and write its board.json.

    The command asks for the Wi-Fi password, or reads it from IVOTA_WIFI_PASSWORD.
    The password is stored only in board.json, not in the cloud.
    """
    _expect_new(out_file)
    network = _network(wifi)
    order = {"device": name, "application": application, "hardware": hardware, "tags": tag or []}
    with Client() as client:
        (made,) = client.add_devices([order])
    _write(out_file, _joined(made["board"], network))
    if as_json:
        return print_json(made)
    say(f"{made['device']['device']} added; {out_file} {_to_do([made['board']])}")
    say(f"next: ivota board install --config {out_file}")


@device.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV file: product,name and optionally application,hardware,tags,wifi,"
            "wifi_password."
        ),
    ],
    wifi: Wifi = None,
    folder: Annotated[
        Path, typer.Option("--out", help="Folder for a board.json of each device.")
    ] = Path("boards"),
    as_json: AsJson = False,
) -> None:
    """Enroll all devices in a CSV file, and write a board.json for each.

    If one of the devices cannot be enrolled, the command enrolls none.
    --wifi applies to devices whose columns wifi and wifi_password are empty. The
    command asks for the password of this network, or reads it from
    IVOTA_WIFI_PASSWORD. The cloud gets no Wi-Fi password.
    """
    with reading():
        text = file.read_text()
    try:
        orders, networks = device_list.read(text)
    except (device_list.ListError, UnicodeDecodeError) as error:
        fail(f"{file}: {error}")
    places = {each["device"]: folder / quote(each["device"], safe="") for each in orders}
    for place in places.values():
        _expect_new(place / "board.json")
    network = _network(wifi)
    with Client() as client:
        made = client.add_devices(orders)
    for each in made:
        name = each["device"]["device"]
        board = _joined(each["board"], networks.get(name, network))
        _write(places[name] / "board.json", board)
    if as_json:
        return print_json(made)
    to_do = _to_do([each["board"] for each in made])
    added = "1 device" if len(made) == 1 else f"{len(made):,} devices"
    say(f"{added} added; each board.json in {folder} {to_do}")


def _network(ssid: str | None) -> device_list.Wifi | None:
    """Ask for the password, which must not be in a command line: other users could read it."""
    if ssid is None:
        return None
    try:
        wifi_network.section(ssid, "")  # a wrong name is said before the question
        password = ask_secret("Wi-Fi password", "IVOTA_WIFI_PASSWORD", new=False, empty=True)
        return wifi_network.section(ssid, password)
    except wifi_network.WifiError as error:
        fail(str(error))


def _joined(board: Json, network: device_list.Wifi | None) -> Json:
    """Put the Wi-Fi network into a board's configuration."""
    if network is not None:
        board["wifi"] = network
    return board


def _to_do(boards: list[Json]) -> str:
    """Say what the files still lack."""
    lacking = sum(board["wifi"] == PLACEHOLDER for board in boards)
    if not lacking:
        words = "is complete"
    else:
        words = "needs the Wi-Fi network"
        words += f" ({lacking} of {len(boards)})" if lacking < len(boards) else ""
    if any(board.get("mqtt", {}).get("host") in LOOPBACK for board in boards):
        words += "; its mqtt.host refers to this machine: change it, or boards cannot connect"
    if any(board.get("http", {}).get("ca") for board in boards):
        words += "; copy the certificate authority to the board as /ca.pem"
    return words


def _expect_new(place: Path) -> None:
    """Check the file before the device is created, because its secret is shown only once."""
    if place.exists():
        fail(f"{place} already exists: move it, or choose another place with --out")
    # The nearest folder that exists; the others are created with the file.
    above = next(each for each in place.absolute().parents if each.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        fail(f"cannot create {place}: {above} is not a folder that you can write to")


def _write(place: Path, board: Json) -> None:
    """Write a file that only its owner can read: it may contain a secret."""
    text = json.dumps(board, ensure_ascii=False, indent=2) + "\n"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
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
    name: OneDevice = None,
    application: Application = None,
    hardware: Hardware = None,
    forget: Annotated[
        list[Property] | None,
        typer.Option("--forget", help="Clear a property; repeatable."),
    ] = None,
    where: Where = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Set the application and hardware of a device, or of all devices that match a query.

    Campaigns and pushes send a device only firmware for its application and
    hardware.
    """
    name = bulk_actions.one(name, where, dry_run)
    given = {"application": application, "hardware": hardware}
    if all(value is None for value in given.values()) and not forget:
        fail("specify --application, --hardware or --forget")
    for each in Property:
        if given[each.value] == "":
            fail(f"the {each.value} is empty: to clear it, use --forget {each.value}")
    for each in forget or ():
        if given[each.value] is not None:
            fail(f"specify either --{each.value} or --forget {each.value}")
        given[each.value] = ""
    application, hardware = given["application"], given["hardware"]
    if name is None:
        assert where is not None
        return bulk_actions.act(
            where, "properties", "changed", dry_run=dry_run, as_json=as_json,
            application=application, hardware=hardware,
        )  # fmt: skip
    with Client() as client:
        found = client.set_device(client.device(name)["id"], application, hardware)
    show(found, as_json, views.kind_line)
