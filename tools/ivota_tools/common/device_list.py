"""Parse a list of new devices from CSV: product, name, and optional columns."""

from __future__ import annotations

import csv
import io
from typing import Any

from . import wifi_network

COLUMNS = ("product", "name", "application", "hardware", "tags", "wifi", "wifi_password")
MOST = 1000


class ListError(ValueError):
    """The list cannot be understood."""


Wifi = dict[str, str | None]


def read(text: str) -> tuple[list[dict[str, Any]], dict[str, Wifi]]:
    """Return the body of `POST /devices` for each row, and the Wi-Fi networks.

    The networks have the devices' names as keys, and only the board.json contains them: the cloud
    stores none. Raises ListError.
    """
    try:
        rows = csv.DictReader(io.StringIO(text.lstrip("\ufeff"), newline=""), strict=True)
        names = [(name or "").strip().lower() for name in rows.fieldnames or ()]
        unknown = [name for name in names if name not in COLUMNS]
        if unknown or not {"product", "name"} <= set(names):
            raise ListError(
                "the first line must name the columns: product,name and optionally "
                "application,hardware,tags,wifi,wifi_password"
                + (f"; {unknown[0]!r} is not one of them" if unknown else "")
            )
        rows.fieldnames = names
        found, networks = [], {}
        for number, row in enumerate(rows, 2):
            if None in row or None in row.values():
                raise ListError(f"line {number} has more or fewer columns than the first line")
            if any(row.values()):
                cells = {
                    key: text if key == "wifi_password" else text.strip()
                    for key, text in row.items()
                }
                found.append(_order(number, cells))
                if network := _wifi(number, cells):
                    networks[found[-1]["device"]] = network
    except csv.Error as error:
        raise ListError(f"the list is not valid CSV: {error}") from None
    if not found:
        raise ListError("the list contains no devices")
    if len(found) > MOST:
        raise ListError(f"the list has {len(found)} devices: the maximum is {MOST} at a time")
    names = [each["device"] for each in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise ListError(f"{twice} is in the list twice")
    return found, networks


def _wifi(number: int, row: dict[str, str]) -> Wifi | None:
    ssid, password = row.get("wifi", ""), row.get("wifi_password", "")
    if not ssid and not password:
        return None
    try:
        return wifi_network.section(ssid, password)
    except wifi_network.WifiError as error:
        raise ListError(f"line {number}: {error}") from None


def _order(number: int, row: dict[str, str]) -> dict[str, Any]:
    if not row["product"] or not row["name"] or "/" in row["product"]:
        raise ListError(f"line {number} needs a product without a slash, and a name")
    return {
        "device": f"{row['product']}/{row['name']}",
        "application": row.get("application") or None,
        "hardware": row.get("hardware") or None,
        "tags": row.get("tags", "").replace(",", " ").split(),
    }
