"""Set and remove the target of a device, inside one transaction."""

from __future__ import annotations

from sqlalchemy.orm import Session

from ..store import device_lock
from ..store.database import next_revision
from ..store.device_acceptance import expect_accepted
from ..store.models import Assignment, Campaign, Device, Firmware
from . import assignment_states, restored_attempts


def assign(
    session: Session, device: Device, firmware: Firmware, now: float, campaign: Campaign | None
) -> Assignment:
    """Create an attempt; the process that handles reports sends the push.

    Raises StatusError if the device is not part of the fleet.
    """
    device_lock.hold(session, device)
    expect_accepted(device)
    on_trial = assignment_states.is_trial(device.assignment, firmware.version)
    if device.assignment:
        assignment_states.supersede(device.assignment, now)
        session.flush()
    assignment = Assignment(
        device=device,
        firmware=firmware,
        campaign=campaign,
        only_outdated=campaign is not None and campaign.only_outdated,
        state="",
        created_at=now,
    )
    if restored_attempts.is_silent(device, restored_attempts.restored_at(session)):
        assignment_states.await_report(assignment, now)
    else:
        assignment_states.begin(assignment, device.version, now, on_trial)
    session.add(assignment)
    touch(session, device)
    session.flush()
    session.expire(device, ["assignment"])
    return assignment


def touch(session: Session, device: Device) -> None:
    """Mark the device as changed, for event streams."""
    device.revision = next_revision(session)
