"""Find the device that a request names; an HTTPException says what to do if there is none."""

from __future__ import annotations

from fastapi import HTTPException
from sqlalchemy import select
from sqlalchemy.orm import Session

from ..mqtt.messages import NAME_MOST
from ..store import ambiguous_device_names
from ..store.models import Device
from .route_parameters import ID_MOST


def device_by_id(session: Session, device_id: int) -> Device:
    device = session.get(Device, device_id) if 0 < device_id <= ID_MOST else None
    if device is None:
        raise HTTPException(404, f"device id {device_id} does not exist")
    return device


def refuse_same_identity(session: Session, device: Device) -> None:
    """Raise HTTPException before two devices with the same client id could both have a secret."""
    if other := ambiguous_device_names.same_identity(session, device):
        raise HTTPException(
            409,
            f"{other.name} signs in with the same client id and has a secret: "
            "remove that secret first",
        )


def find_device(session: Session, name: str, new: bool = False, otherwise: str = "") -> Device:
    """Find a device by PRODUCT/NAME, or by a unique NAME; `new` creates a missing one.

    `otherwise` is appended to the error if there is none.
    """
    product_id, _, device_name = name.partition("/")
    query = select(Device).where(
        Device.product_id == product_id, Device.device_name == device_name
    )
    device = session.scalar(query)
    if device:
        return device
    found = session.scalars(select(Device).where(Device.device_name == name).limit(3)).all()
    if len(found) > 1:
        names = ", ".join(each.name for each in found)
        raise HTTPException(409, f"several devices are called {name!r}: use one of {names}")
    if found:
        return found[0]
    if not new:
        raise HTTPException(
            404,
            f"the device {name!r} does not exist: list the devices with `ivota devices`"
            f"{otherwise}",
        )
    if not (0 < len(product_id) <= NAME_MOST and 0 < len(device_name) <= NAME_MOST):
        raise HTTPException(
            422,
            f"{name!r} is not a device name: use PRODUCT/NAME, and at most {NAME_MOST} "
            "characters for each",
        )
    if any(c in "+#" for c in name) or not name.isprintable():
        raise HTTPException(
            422, f"{name!r} contains +, # or a control character, which MQTT topics forbid"
        )
    if ";" in name:
        raise HTTPException(
            422, f"{name!r} must not contain a semicolon: it separates fields in a sign-in"
        )
    if why := ambiguous_device_names.conflict(session, product_id, device_name):
        raise HTTPException(409, f"cannot add device {name!r}: {why}")
    device = Device(product_id=product_id, device_name=device_name)
    session.add(device)
    session.flush()
    return device
