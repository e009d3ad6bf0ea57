"""Find device names that could be mistaken for one another, in topics or at sign-in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session

from .models import Device, Setting

Names = tuple[str, str]  # product id, device name

_DOTS_ARE_SLASHES = "broker_takes_dots_for_slashes"


def keep_dots_are_slashes(session: Session, yes: bool) -> None:
    """Store the observed behaviour of the broker, for all processes of this database."""
    session.merge(Setting(name=_DOTS_ARE_SLASHES, value="yes" if yes else "no"))


def dots_are_slashes(session: Session) -> bool:
    setting = session.get(Setting, _DOTS_ARE_SLASHES)
    return setting is not None and setting.value == "yes"


def conflict(session: Session, product_id: str, device_name: str) -> str | None:
    """Return why no device may have this name, or None."""
    other = session.scalar(_others(product_id, device_name, _signs_in_as(product_id, device_name)))
    if other:
        return (
            f"{other.name} signs in with the same client id, {product_id}{device_name}: "
            "choose another name"
        )
    if dots_are_slashes(session):
        slashed = func.replace(Device.product_id + "/" + Device.device_name, ".", "/")
        same = slashed == f"{product_id}/{device_name}".replace(".", "/")
        if other := session.scalar(_others(product_id, device_name, same)):
            return (
                f"the broker treats . and / in topics as the same, so {other.name} would "
                "receive its messages: choose another name"
            )
    return None


def same_identity(session: Session, device: Device) -> Device | None:
    """Return another device with a secret and the same client id."""
    query = _others(
        device.product_id,
        device.device_name,
        _signs_in_as(device.product_id, device.device_name) & Device.secret.is_not(None),
    )
    return session.scalar(query)


def undotted(session: Session, heard: Iterable[Names]) -> Mapping[Names, Names]:
    """Map known names with dots to their form if a broker treats dots as slashes."""
    dotted = or_(Device.product_id.contains("."), Device.device_name.contains("."))
    found: dict[Names, Names] = {}
    for names in session.execute(select(Device.product_id, Device.device_name).where(dotted)):
        product_id, _, device_name = "/".join(names).replace(".", "/").partition("/")
        found[product_id, device_name] = names[0], names[1]
    return {names: found[names] for names in heard if names in found}


def _signs_in_as(product_id: str, device_name: str) -> ColumnElement[bool]:
    # By each place where the product may end, so that the index of names finds them.
    text = product_id + device_name
    pairs = ((text[:end], text[end:]) for end in range(1, len(text)))
    return or_(
        *((Device.product_id == product) & (Device.device_name == name) for product, name in pairs)
    )


def _others(
    product_id: str, device_name: str, condition: ColumnElement[bool]
) -> Select[tuple[Device]]:
    this = (Device.product_id == product_id) & (Device.device_name == device_name)
    return select(Device).where(condition, ~this).limit(1)
