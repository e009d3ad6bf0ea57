"""Enroll devices, one by name or many from CSV, and replace the secret of an existing one."""

from __future__ import annotations

import io
import zipfile
from urllib.parse import quote

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from ...common import device_list, wifi_network
from ...common.device_list import Wifi
from ...common.wifi_network import WifiError
from ..accounts.audit_log import note
from ..accounts.roles import OPERATOR
from ..api.device_schemas import DeviceIn
from ..api.new_devices import enroll, new_secret
from ..mqtt.device_sign_in import SecretError
from ..rollout.device_actions import TagError
from ..store.models import Device
from .device import find
from .formatting import indented, refusal, sentence
from .page_guard import route
from .page_visit import Setting, Visit

FIELDS = ("product", "name", "application", "hardware", "tags", "wifi", "list")


def routes(setting: Setting) -> list[BaseRoute]:
    return [
        route(setting, "/devices/new", new, needed=OPERATOR),
        route(setting, "/devices/new", add, method="POST", needed=OPERATOR),
        route(setting, "/devices/list", add_list, method="POST", needed=OPERATOR),
        route(setting, "/devices/{id:int}/secret", renew, method="POST", needed=OPERATOR),
    ]


def new(visit: Visit) -> Response:
    return _form(visit)


def _form(visit: Visit, problem: str = "", status: int = 200) -> Response:
    given = {name: visit.form.get(name, "") for name in FIELDS}
    return visit.show("device_new.html", status, given=given, problem=problem, device=None)


def add(visit: Visit) -> Response:
    product, name = visit.said("product"), visit.said("name")
    try:
        if not product or not name or "/" in product + name:
            raise HTTPException(422, "enter a product and a name, both without a slash")
        wifi = _wifi(visit)
        with visit.database.writing() as session:
            order = DeviceIn(
                device=f"{product}/{name}",
                application=visit.said("application") or None,
                hardware=visit.said("hardware") or None,
                tags=visit.said("tags", 8192).replace(",", " ").split(),
            )
            (made,) = enroll(session, [order], visit.setting.boards, visit.who)
            return _show(visit, made.device, made.board.get("device_secret", ""), wifi)
    except HTTPException as error:
        return _form(visit, sentence(str(error.detail)), error.status_code)
    except (SecretError, TagError, ValidationError, WifiError) as error:
        return _form(visit, refusal(error), 422)


def _wifi(visit: Visit) -> Wifi | None:
    """Return the network for the board.json, or None if none was entered. Raises WifiError."""
    ssid, password = visit.said("wifi"), visit.raw("wifi_password")
    return wifi_network.section(ssid, password) if ssid or password else None


def add_list(visit: Visit) -> Response:
    """Add all devices of a list or none; return their board.json files, only once, in a ZIP."""
    text = visit.raw("list")
    try:
        rows, networks = device_list.read(text)
        orders = [DeviceIn(**each) for each in rows]
        wifi = _wifi(visit)
        with visit.database.writing() as session:
            made = enroll(session, orders, visit.setting.boards, visit.who)
            for each in made:
                if network := networks.get(each.device.name, wifi):
                    each.board["wifi"] = network
            files = [(each.device.name, indented(each.board) + "\n") for each in made]
    except HTTPException as error:
        return _form(visit, sentence(str(error.detail)), error.status_code)
    except (device_list.ListError, SecretError, TagError, ValidationError, WifiError) as error:
        return _form(visit, refusal(error), 422)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, board in files:
            archive.writestr(f"{quote(name, safe='')}/board.json", board)
    return Response(
        packed.getvalue(),
        media_type="application/zip",
        headers={
            "Content-Disposition": 'attachment; filename="boards.zip"',
            "Cache-Control": "no-store",
        },
    )


def renew(visit: Visit) -> Response:
    with visit.database.writing() as session:
        device = find(session, visit.number("id"))
        try:
            made = new_secret(session, device)
        except SecretError as error:
            raise HTTPException(422, str(error)) from None
        note(session, visit.who, "device secret", device.name)
        return _show(visit, device, made)


def _show(visit: Visit, device: Device, secret: str, wifi: Wifi | None = None) -> Response:
    """Show the secret only once: the page is not stored, and no other page shows it."""
    return visit.show("device_new.html", problem="", device=device, secret=secret, wifi=wifi)
