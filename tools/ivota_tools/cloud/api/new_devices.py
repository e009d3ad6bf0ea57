"""Enroll devices before they report, each with its board.json: for the API and the pages."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from fastapi import APIRouter, Depends, HTTPException
from sqlalchemy.orm import Session

from ..accounts import audit_log
from ..accounts.authorization import Guard
from ..board_config import BoardConfig
from ..mqtt import device_sign_in
from ..rollout import device_actions
from ..store.database import Database
from ..store.device_acceptance import ACCEPTED
from ..store.models import Device
from .device_lookup import find_device, refuse_same_identity
from .device_schemas import DeviceIn, DevicesIn, EnrolledOut, device_out
from .route_parameters import ERRORS

SECRET = 16  # bytes


class Enrolled(NamedTuple):
    """A new device; `board` is its configuration, which has the only copy of its secret."""

    device: Device
    board: dict[str, Any]


def routes(database: Database, *, boards: BoardConfig, may: Guard) -> APIRouter:
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses=ERRORS)

    @router.post("/devices", status_code=201)
    def post_devices(given: DevicesIn, who: str = Depends(may)) -> list[EnrolledOut]:
        """Enroll devices, all of them or none, each with its board.json.

        With --sign-in, the cloud creates a secret for each, which it cannot show again.
        """
        with database.writing() as session:
            made = enroll(session, given.devices, boards, who)
            return [EnrolledOut(device=device_out(each.device), board=each.board) for each in made]

    return router


def enroll(
    session: Session, given: Sequence[DeviceIn], boards: BoardConfig, who: str
) -> list[Enrolled]:
    """Raise HTTPException for the first device that cannot be enrolled."""
    found = []
    for each in given:
        device = find_device(session, each.device, new=True)
        if device.name != each.device:
            raise HTTPException(422, f"{each.device!r} is not a device name: use PRODUCT/NAME")
        if device.secret or (device.status == ACCEPTED and device.first_seen is not None):
            has, do = "belongs to the fleet", "set its application, hardware and tags instead"
            if device.secret:
                has, do = "has a secret", "replace its secret on the device's page"
            raise HTTPException(409, f"{device.name} already {has}, so nothing was added: {do}")
        if device.status != ACCEPTED:
            device_actions.accept_device(session, device, who)
        secret = new_secret(session, device) if boards.sign_in else None
        if each.application or each.hardware:
            device_actions.set_kind(session, device, each.application, each.hardware, who)
        if each.tags:
            device_actions.set_tags(session, device, set(each.tags), who)
        audit_log.note(session, who, "device add", device.name)
        board = boards.make(device.product_id, device.device_name, secret, each.hardware)
        found.append(Enrolled(device, board))
    return found


def new_secret(session: Session, device: Device) -> str:
    """Give a device a new secret. Raises HTTPException, SecretError."""
    refuse_same_identity(session, device)
    made = base64.b64encode(secrets.token_bytes(SECRET)).decode()
    device_sign_in.set_secret(session, device, made)
    return made
