"""Install the latest firmware when a user presses the button in Home Assistant."""

from __future__ import annotations

import logging

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..accounts import audit_log
from ..pages import fleet_queries
from ..pages.fleet import can_update, newest_for
from ..rollout import assignment_states, campaign_rules, device_actions
from ..rollout.device_actions import MismatchError
from ..store.device_acceptance import ACCEPTED, StatusError
from ..store.models import Assignment, Campaign, Device, Firmware, Member

log = logging.getLogger("ivota.cloud")

WHO = "home-assistant"  # in the audit log
_GOING = (campaign_rules.RUNNING, campaign_rules.PAUSED, campaign_rules.STOPPED)


def latest(device: Device, newest: list[Firmware]) -> Firmware | None:
    """Return the firmware that a device is updating to, or could be updated to."""
    attempt = device.assignment
    if attempt is not None and attempt.state not in assignment_states.CLOSED:
        return attempt.firmware
    found = newest_for(device, newest)
    return found if can_update(device, found) else None


def refusal(session: Session, device: Device, firmware: Firmware | None) -> str | None:
    """Return the reason why this firmware can't be installed now, or None."""
    attempt = device.assignment
    if attempt is not None and attempt.state not in assignment_states.CLOSED:
        return f"the device is already updating to {attempt.firmware.version}"
    if firmware is None:
        return "there is no newer firmware for the device"
    if campaign := _deciding(session, device, firmware):
        return f"campaign {campaign.name!r} ({campaign.state}) controls this device"
    return None


def _deciding(session: Session, device: Device, firmware: Firmware) -> Campaign | None:
    """Find a campaign that has not ended and has not updated the device, or failed to do so."""
    rows = session.execute(
        select(Campaign, Member.assignment_id, Assignment.state)
        .join(Member, Member.campaign_id == Campaign.id)
        .outerjoin(Assignment, Assignment.id == Member.assignment_id)
        .where(Member.device_id == device.id, Campaign.state.in_(_GOING))
        .order_by(Campaign.id.desc())
    ).tuples()
    for campaign, attempt, state in rows:
        if attempt is None or state not in assignment_states.CLOSED:
            return campaign
        if campaign.firmware_id == firmware.id:
            return campaign
    return None


def install(session: Session, number: int) -> str | None:
    """Push the latest firmware to a device; return the reason if that is rejected, or None."""
    device = session.get(Device, number)
    if device is None or device.status != ACCEPTED:
        return "the device is not part of the fleet"
    found = latest(device, fleet_queries.newest(session))
    if reason := refusal(session, device, found):
        return reason
    assert found
    try:
        device_actions.push(session, device, found, WHO)
    except (MismatchError, StatusError) as error:
        return str(error)
    return None


def note_refusal(session: Session, device: Device, reason: str) -> None:
    log.warning("rejected Install for %s in Home Assistant: %s", device.name, reason)
    audit_log.note(session, WHO, "install refused", device.name, reason=reason)
