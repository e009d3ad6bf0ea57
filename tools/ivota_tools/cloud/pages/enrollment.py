"""Devices that sign in: a new one, or another secret for one that is there; shown once."""

from __future__ import annotations

import base64
import secrets

from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from ..accounts.audit_log import note
from ..accounts.roles import OPERATOR
from ..api.routes import find_device, refuse_same_identity
from ..mqtt.device_credentials import SecretError, set_secret
from ..rollout.fleet_changes import accept_device
from ..store.device_registry import ACCEPTED
from ..store.models import Device
from .device import find
from .formatting import sentence
from .request_context import Setting, Visit
from .routing import route

SECRET = 16  # bytes


def routes(setting: Setting) -> list[BaseRoute]:
    return [
        route(setting, "/devices/new", new, needed=OPERATOR),
        route(setting, "/devices/new", add, method="POST", needed=OPERATOR),
        route(setting, "/devices/{id:int}/secret", renew, method="POST", needed=OPERATOR),
    ]


def new(visit: Visit) -> Response:
    return _form(visit)


def _form(visit: Visit, product: str = "", name: str = "", problem: str = "", status: int = 200
          ) -> Response:  # fmt: skip
    given = {"product": product, "name": name}
    return visit.show("device_new.html", status, given=given, problem=problem, device=None)


def add(visit: Visit) -> Response:
    product, name = visit.said("product"), visit.said("name")
    try:
        if not product or not name or "/" in product + name:
            raise HTTPException(422, "enter a product and a name, both without a slash")
        with visit.database.writing() as session:
            device = find_device(session, f"{product}/{name}", new=True)
            if device.secret:
                raise HTTPException(
                    409, f"{device.name} already has a secret; replace it on the device's page"
                )
            if device.status != ACCEPTED:
                accept_device(session, device, visit.who)
            return _show(visit, device, _give(visit, session, device, "device add"))
    except HTTPException as error:
        return _form(visit, product, name, sentence(str(error.detail)), error.status_code)


def renew(visit: Visit) -> Response:
    with visit.database.writing() as session:
        device = find(session, visit.number("id"))
        return _show(visit, device, _give(visit, session, device, "device secret"))


def _give(visit: Visit, session: Session, device: Device, action: str) -> str:
    refuse_same_identity(session, device)
    made = base64.b64encode(secrets.token_bytes(SECRET)).decode()
    try:
        set_secret(session, device, made)
    except SecretError as error:
        raise HTTPException(422, str(error)) from None
    note(session, visit.who, action, device.name)
    return made


def _show(visit: Visit, device: Device, secret: str) -> Response:
    """This once: the page is not kept, and no other tells it."""
    return visit.show("device_new.html", problem="", device=device, secret=secret)
