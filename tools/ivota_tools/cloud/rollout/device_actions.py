"""An operator's actions on devices: push, retry, cancel, tag, accept, retire, delete.

The API and the pages call the same functions, so that the same rules apply.
"""

from __future__ import annotations

import time

from sqlalchemy import delete
from sqlalchemy.orm import Session

from ...common.version_order import is_older
from ..accounts import audit_log
from ..mqtt.messages import HARDWARE_MOST, NAME_MOST
from ..store import device_acceptance, device_lock
from ..store.database import Database
from ..store.device_acceptance import RETIRED, StatusError
from ..store.models import TAG_MOST, Assignment, Device, DeviceTag, Firmware, Member
from . import assignment_states, device_chip, firmware_match
from .assignment import assign, touch
from .campaign_rules import CANCELLED, FINISHED, RUNNING

TAGS_MOST = 100  # of a device


class TagError(ValueError):
    """These tags are not valid for a device."""


class MismatchError(ValueError):
    """The firmware is for another application, hardware or chip than the device's."""


class UpdateStateError(ValueError):
    """The state of the device's update does not allow this action."""


def push(
    session: Session, device: Device, firmware: Firmware, who: str | None, mismatched: bool = False
) -> Assignment:
    """Set a device's target.

    Raises StatusError, and MismatchError; `mismatched` allows all but an image for another chip.
    Without `who`, the caller writes the entry of the audit log; the same holds for the functions
    below.
    """
    check = device_chip.mismatch if mismatched else firmware_match.mismatch
    if reason := check(firmware, device):
        raise MismatchError(reason)
    made = assign(session, device, firmware, time.time(), None)
    if who is not None:
        audit_log.note(session, who, "push", device.name, version=firmware.version)
    return made


def retry_device(session: Session, device: Device, now: float, who: str | None) -> Assignment:
    """Retry the same target in the same campaign. Raises UpdateStateError."""
    device_lock.hold(session, device)
    old = device.assignment
    if old is None or old.state not in (
        assignment_states.FAILED,
        assignment_states.RETRY,
        assignment_states.CANCELLED,
    ):
        state = old.state if old else "idle"
        raise UpdateStateError(f"{device.name} is {state}: nothing to retry")
    campaign = old.campaign if old.campaign and old.campaign.state != CANCELLED else None
    attempt = assign(session, device, old.firmware, now, campaign)
    if campaign:
        member = session.get(Member, (campaign.id, device.id))
        if member:
            member.assignment_id = attempt.id
        if campaign.state == FINISHED:
            campaign.state, campaign.ended_at = RUNNING, None
    if who is not None:
        audit_log.note(session, who, "device retry", device.name, version=old.firmware.version)
    return attempt


def cancel_device(session: Session, device: Device, now: float, who: str | None) -> None:
    """Cancel a device's update. Raises UpdateStateError if there is none."""
    device_lock.hold(session, device)
    assignment = device.assignment
    if assignment is None or assignment.state in assignment_states.CLOSED:
        state = assignment.state if assignment else "idle"
        raise UpdateStateError(f"{device.name} is {state}: nothing to cancel")
    assignment_states.cancel(assignment, now)
    touch(session, device)
    if who is not None:
        version = assignment.firmware.version
        audit_log.note(session, who, "device cancel", device.name, version=version)


def push_newer(session: Session, device: Device, firmware: Firmware, who: str) -> bool:
    """Set a device's target, unless it has this target already; then return False.

    Raises StatusError if the device runs this version or a newer one, or is being updated to
    another: whoever asks has not seen that yet.
    """
    device_lock.hold(session, device)
    attempt, running = device.assignment, assignment_states.running(device)
    if attempt and attempt.state not in assignment_states.CLOSED:
        if attempt.firmware_id == firmware.id:
            return False
        raise StatusError(f"{device.name} is already updating to {attempt.firmware.version}")
    if running is None or not is_older(running, firmware.version):
        raise StatusError(f"{device.name} now runs {running or 'an unknown version'}")
    push(session, device, firmware, who)
    return True


def set_kind(
    session: Session,
    device: Device,
    application: str | None,
    hardware: str | None,
    who: str | None,
) -> None:
    """Set a device's application and hardware; None keeps a value, "" means unknown. Raises
    TagError.
    """
    for text, most in ((application, NAME_MOST), (hardware, HARDWARE_MOST)):
        if text is not None and (len(text) > most or not text.isprintable()):
            raise TagError(f"{text!r} must have at most {most} printable characters")
    if application is not None:
        device.application = application or None
    if hardware is not None:
        device.hardware = hardware or None
    touch(session, device)
    if who is not None:
        audit_log.note(session, who, "device properties", device.name,
                       application=device.application, hardware=device.hardware)  # fmt: skip


def set_tags(session: Session, device: Device, tags: set[str], who: str | None) -> None:
    """Replace a device's tags. Raises TagError."""
    if len(tags) > TAGS_MOST or any(not 0 < len(each) <= TAG_MOST for each in tags):
        raise TagError(
            f"a device can have at most {TAGS_MOST} tags of 1 to {TAG_MOST} characters each"
        )
    if not all(each.isprintable() for each in tags):
        raise TagError("a tag must not contain control characters")
    if any(set(each) & set(",*?[") for each in tags):
        raise TagError("a tag must not contain a comma or one of the characters * ? [")
    session.execute(delete(DeviceTag).where(DeviceTag.device_id == device.id))
    session.add_all(DeviceTag(device_id=device.id, tag=tag) for tag in sorted(tags))
    touch(session, device)
    if who is not None:
        audit_log.note(session, who, "device tag", device.name, tags=sorted(tags))
    session.flush()
    session.refresh(device, ["tags"])


def accept_device(session: Session, device: Device, who: str | None) -> None:
    device_acceptance.accept(session, device)
    if who is not None:
        audit_log.note(session, who, "device accept", device.name)


def retire_device(session: Session, device: Device, who: str | None) -> None:
    """Retire a device and cancel its update."""
    device_lock.hold(session, device)
    device_acceptance.retire(session, device)
    if device.assignment:
        assignment_states.cancel(device.assignment, time.time())
    if who is not None:
        audit_log.note(session, who, "device retire", device.name)


def delete_device(database: Database, number: int, who: str) -> str:
    """Permanently delete a device and its history; return its name. Raises LookupError, and
    StatusError if the device is accepted again before it is deleted.
    """
    with database.writing() as session:
        device = session.get(Device, number)
        if device is None:
            raise LookupError
        name = device.name
        if device.status != RETIRED:
            retire_device(session, device, who=None)  # it must not report while it is deleted
        audit_log.note(session, who, "device delete", name)
    if not device_acceptance.remove(database, [number]):
        with database.reading() as session:
            if session.get(Device, number):
                raise StatusError(f"{name} was accepted again, so it was not deleted")
    return name
