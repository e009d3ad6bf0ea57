"""Manage the tokens of DDI: a device's own, and a gateway's, which speaks for any device."""

from __future__ import annotations

import secrets
import time

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..accounts import audit_log
from ..accounts.users import UserError, digest
from ..mqtt.messages import NAME_MOST
from ..store.database import revoke
from ..store.models import DDI, DdiToken, Device

GATEWAY, TARGET = "GatewayToken", "TargetToken"  # the schemes of the Authorization header


def create(session: Session, name: str, device: Device | None, who: str) -> tuple[DdiToken, str]:
    """Create a token for a device, or for a gateway; return it with its text, which is not stored.

    Raises UserError.
    """
    if not (0 < len(name) <= NAME_MOST and name.isprintable()):
        raise UserError(f"a token's name must have 1 to {NAME_MOST} printable characters")
    if session.scalar(select(DdiToken.id).where(DdiToken.name == name)) is not None:
        raise UserError(
            f"a DDI token {name!r} already exists: choose another name, or remove that token", 409
        )
    if device is not None:
        expect_no_board(device)
        device.transport = DDI
    word = secrets.token_hex(16)  # hawkBit's own format; some clients limit the length
    token = DdiToken(name=name, sha256=digest(word), device=device, created_at=time.time())
    session.add(token)
    session.flush()
    audit_log.note(session, who, "ddi token", name, device=device and device.name)
    return token, word


def remove(session: Session, token: DdiToken, who: str) -> None:
    session.delete(token)
    revoke(session)
    audit_log.note(session, who, "ddi token removed", token.name)


def may_speak_for(session: Session, scheme: str, word: str, device: Device | None) -> bool:
    """Return whether a token is valid for a device; None stands for an unknown device."""
    found = session.scalar(select(DdiToken).where(DdiToken.sha256 == digest(word)))
    if found is None or not word:
        return False
    if found.device_id is None:
        return scheme.lower() == GATEWAY.lower()
    right = scheme.lower() == TARGET.lower()
    return right and device is not None and device.id == found.device_id


def expect_no_board(device: Device) -> None:
    """Raise UserError for a device of MQTT: a token of DDI must not take it over."""
    if device.transport != DDI and (device.last_seen is not None or device.secret):
        raise UserError(
            f"{device.name} already updates through MQTT: choose another name for DDI", 409
        )
