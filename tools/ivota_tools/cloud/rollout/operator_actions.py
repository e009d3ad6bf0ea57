"""The operator's actions on devices, firmware and campaigns: accept, retire, delete, tag.

The API and the pages call the same functions, so that the same rules apply.
"""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from ..accounts import audit_log
from ..mqtt.messages import HARDWARE_MOST, NAME_MOST
from ..store import device_acceptance, firmware_store
from ..store.database import Database
from ..store.device_acceptance import RETIRED
from ..store.firmware_store import FirmwareError
from ..store.models import (
    TAG_MOST,
    Assignment,
    Campaign,
    Device,
    DeviceTag,
    Firmware,
    Member,
)
from . import (
    assignment_states,
    campaign_actions,
    campaign_counts,
    campaign_states,
    firmware_match,
)
from .assignment import assign, touch
from .campaign_actions import CampaignError

TAGS_MOST = 100  # of a device
MEMBERS_MOST = 2000  # of a campaign that one transaction deletes


class TagError(ValueError):
    """These tags are not valid for a device."""


class MismatchError(ValueError):
    """The firmware is for another application or other hardware than the device's."""


def push(
    session: Session, device: Device, firmware: Firmware, who: str, mismatched: bool = False
) -> Assignment:
    """Set a device's target. Raises StatusError, and MismatchError unless `mismatched`."""
    reason = firmware_match.mismatch(firmware, device)
    if reason and not mismatched:
        raise MismatchError(reason)
    made = assign(session, device, firmware, time.time(), None)
    audit_log.note(session, who, "push", device.name, version=firmware.version)
    return made


def set_kind(
    session: Session, device: Device, application: str | None, hardware: str | None, who: str
) -> None:
    """Set what a device is for; None keeps a property, "" makes it unknown. Raises TagError."""
    for text, most in ((application, NAME_MOST), (hardware, HARDWARE_MOST)):
        if text is not None and (len(text) > most or not text.isprintable()):
            raise TagError(f"{text!r} must have at most {most} printable characters")
    if application is not None:
        device.application = application or None
    if hardware is not None:
        device.hardware = hardware or None
    touch(session, device)
    audit_log.note(session, who, "device properties", device.name,
                   application=device.application, hardware=device.hardware)  # fmt: skip


def set_tags(session: Session, device: Device, tags: set[str], who: str) -> None:
    """Replace a device's tags. Raises TagError."""
    if len(tags) > TAGS_MOST or any(not 0 < len(each) <= TAG_MOST for each in tags):
        raise TagError(
            f"a device can have at most {TAGS_MOST} tags of up to {TAG_MOST} characters"
        )
    if not all(each.isprintable() for each in tags):
        raise TagError("a tag must not contain control characters")
    if any(set(each) & set(",*?[") for each in tags):
        raise TagError("a tag must not contain a comma or one of the characters * ? [")
    session.execute(delete(DeviceTag).where(DeviceTag.device_id == device.id))
    session.add_all(DeviceTag(device_id=device.id, tag=tag) for tag in sorted(tags))
    touch(session, device)
    audit_log.note(session, who, "device tag", device.name, tags=sorted(tags))
    session.flush()
    session.refresh(device, ["tags"])


def accept_device(session: Session, device: Device, who: str) -> None:
    device_acceptance.accept(session, device)
    audit_log.note(session, who, "device accept", device.name)


def accept_pending(session: Session, who: str) -> int:
    """Accept all pending devices; return their number."""
    count = device_acceptance.accept_all(session)
    audit_log.note(session, who, "device accept", "all pending devices", devices=count)
    return count


def retire_device(session: Session, device: Device, who: str) -> None:
    """Retire a device and cancel its update."""
    device_acceptance.retire(session, device)
    if device.assignment:
        assignment_states.cancel(device.assignment, time.time())
    audit_log.note(session, who, "device retire", device.name)


def delete_device(database: Database, number: int, who: str) -> str:
    """Permanently delete a device and its history; return its name. Raises LookupError."""
    with database.writing() as session:
        device = session.get(Device, number)
        if device is None:
            raise LookupError
        name = device.name
        if device.status != RETIRED:
            retire_device(session, device, who)
        audit_log.note(session, who, "device delete", name)
    device_acceptance.remove(database, number)
    return name


def delete_firmware(session: Session, folder: Path, firmware: Firmware, who: str) -> None:
    """Delete a firmware and its patches. Raises FirmwareError if it is still in use.

    If it was ever assigned to a device, its row remains for the history, without the file.
    """
    patches = session.scalars(select(Firmware).where(Firmware.whole_id == firmware.id)).all()
    open_attempts = select(func.count()).where(
        Assignment.firmware_id == firmware.id,
        Assignment.current,
        Assignment.state.not_in(assignment_states.CLOSED),
    )
    devices = session.scalar(open_attempts)
    campaigns = session.scalars(
        select(Campaign.id).where(
            Campaign.firmware_id == firmware.id, Campaign.state.not_in(campaign_states.ENDED)
        )
    ).all()
    if devices or campaigns:
        what = f"{devices} devices are updating to it" if devices else ""
        whose = f"campaign {campaigns[0]} has not ended" if campaigns else ""
        raise FirmwareError(
            409, f"{firmware.version} is in use ({what or whose}): cancel that first"
        )
    for each in (*patches, firmware):
        _delete_one(session, folder, each)
    audit_log.note(session, who, "firmware delete", firmware.version, sha256=firmware.sha256)


def _delete_one(session: Session, folder: Path, firmware: Firmware) -> None:
    named = select(Assignment.id).where(
        or_(Assignment.firmware_id == firmware.id, Assignment.patch_id == firmware.id)
    )
    in_campaign = select(Campaign.id).where(Campaign.firmware_id == firmware.id)
    other = select(Firmware.id).where(
        Firmware.sha256 == firmware.sha256,
        Firmware.id != firmware.id,
        Firmware.deleted_at.is_(None),
    )
    if session.scalar(other.limit(1)) is None:
        firmware_store.stored(folder, firmware.sha256).unlink(missing_ok=True)
    used = session.scalar(named.limit(1)) or session.scalar(in_campaign.limit(1))
    kept = select(Firmware.id).where(Firmware.whole_id == firmware.id)
    if used or session.scalar(kept.limit(1)):
        firmware.deleted_at = time.time()
    else:
        session.delete(firmware)
    session.flush()


def delete_campaign(database: Database, number: int, who: str) -> str:
    """Delete a draft or an ended campaign and return its name; devices keep their update history.

    This takes several transactions, so that reports can be stored in between. If the process ends
    in between, the campaign can be deleted again. Raises CampaignError.
    """
    while True:
        with database.writing() as session:
            campaign = session.get(Campaign, number)
            if campaign is None:
                raise CampaignError("the campaign was already deleted")
            _expect_deletable(campaign)
            if not _release_members(session, campaign):
                audit_log.note(session, who, "campaign delete", campaign_actions.name(campaign))
                campaign_counts.forget(session, campaign.id)
                session.delete(campaign)
                return campaign.name
            campaign.state = campaign_states.CANCELLED  # nobody can retry its devices any more
        time.sleep(campaign_actions.BREATH_S)


def _release_members(session: Session, campaign: Campaign) -> bool:
    """Delete a batch of members; return True if there are more, or attempts to release."""
    members = select(Member.device_id).where(Member.campaign_id == campaign.id)
    ids = session.scalars(members.limit(MEMBERS_MOST)).all()
    of_these = (Member.campaign_id == campaign.id, Member.device_id.in_(ids))
    session.execute(delete(Member).where(*of_these))
    attempts = select(Assignment.id).where(Assignment.campaign_id == campaign.id)
    some = session.scalars(attempts.limit(MEMBERS_MOST)).all()
    session.execute(
        update(Assignment).where(Assignment.id.in_(some)).values(campaign_id=None),
        execution_options={"synchronize_session": False},
    )
    return len(ids) == MEMBERS_MOST or len(some) == MEMBERS_MOST


def _expect_deletable(campaign: Campaign) -> None:
    unstarted = campaign.state in (campaign_states.DRAFT, campaign_states.SCHEDULED)
    # A cancelled campaign has ended when all of its devices are cancelled.
    if not unstarted and (campaign.state not in campaign_states.ENDED or not campaign.ended_at):
        raise CampaignError(f"the campaign is {campaign.state}: cancel it first, then delete it")
