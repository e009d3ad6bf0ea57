"""Delete a firmware that no update needs; the API and the pages call the same function."""

from __future__ import annotations

import time
from collections.abc import Iterable

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from ..accounts import audit_log
from ..channel.channel_files import ServedChannel
from ..store import file_sweep
from ..store.firmware_store import FirmwareError
from ..store.models import Assignment, Campaign, Firmware
from . import assignment_states, campaign_rules


def delete_firmware(
    session: Session, firmware: Firmware, who: str, channels: Iterable[ServedChannel] = ()
) -> None:
    """Delete a firmware and its patches. Raises FirmwareError if it is still in use, or in one of
    the channels that the cloud serves.

    If it was ever assigned to a device, its row remains for the history. `file_sweep.sweep`
    deletes the files afterwards.
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
            Campaign.firmware_id == firmware.id, Campaign.state.not_in(campaign_rules.ENDED)
        )
    ).all()
    if devices or campaigns:
        if devices == 1:
            why, what = "1 device is updating to it", "the update"
        elif devices:
            why, what = f"{devices} devices are updating to it", "their updates"
        else:
            why, what = f"campaign {campaigns[0]} has not ended", "the campaign"
        raise FirmwareError(409, f"{firmware.version} is in use ({why}): cancel {what} first")
    md5s = {each.md5 for each in (*patches, firmware)}
    for channel in channels:
        if channel.names(md5s):
            raise FirmwareError(
                409,
                f"{firmware.version} is in the channel of {channel.product}: stop offering it "
                "first, or publish the channel without it",
            )
    for each in (*patches, firmware):
        _delete_one(session, each)
    audit_log.note(session, who, "firmware delete", firmware.version, sha256=firmware.sha256)


def _delete_one(session: Session, firmware: Firmware) -> None:
    named = select(Assignment.id).where(
        or_(Assignment.firmware_id == firmware.id, Assignment.patch_id == firmware.id)
    )
    in_campaign = select(Campaign.id).where(Campaign.firmware_id == firmware.id)
    used = session.scalar(named.limit(1)) or session.scalar(in_campaign.limit(1))
    kept = select(Firmware.id).where(Firmware.whole_id == firmware.id)
    if used or session.scalar(kept.limit(1)):
        firmware.deleted_at = time.time()
    else:
        session.delete(firmware)
    session.flush()
    file_sweep.release(session, firmware.sha256, time.time())
