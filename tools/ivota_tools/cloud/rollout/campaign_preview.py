"""Plan a campaign: which devices it includes, how many in each stage, and which it leaves out.

The commands, the API and the form show this plan before anything starts; `campaign_actions.start`
carries it out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import case, func, null, select
from sqlalchemy.orm import Session

from ...common import times
from ...common.campaign_options import FIRST, OptionError, stage_words
from ...common.version_order import is_older
from ..store.models import Campaign, Device
from . import campaign_rules, device_chip, device_query, firmware_match, restored_attempts

NAMED_MOST = 3  # applications or hardware in a sentence


@dataclass(frozen=True)
class Plan:
    """The number of devices, and the cumulative size of each stage.

    `left` has the number of devices that the query matches but the campaign leaves out, by reason
    in words. `unknown` devices are taken although their application or hardware is unknown.
    """

    total: int
    sizes: Sequence[int]
    stages: Sequence[dict[str, Any]]
    what: str
    left: dict[str, int] = field(default_factory=dict)
    unknown: int = 0
    beyond: int = 0  # mismatched devices that are included
    unheard: int = 0  # included devices that have not reported since a backup was restored
    mark: str = ""

    @property
    def matching(self) -> int:
        return self.total + sum(self.left.values())


def make(session: Session, campaign: Campaign, now: float) -> Plan:
    """Plan a campaign that has not started. Raises QueryError."""
    firmware = campaign.firmware
    total, left = 0, dict[str, int]()
    unknown = beyond = unheard = 0
    # Devices that run and are the same have the same answer.
    restored = restored_attempts.restored_at(session)
    silent = case((restored_attempts.silent(restored), 1), else_=0).label("silent")
    same = (Device.version, Device.application, Device.hardware, Device.transport, silent)
    known_chip = device_chip.known(firmware.chip) if firmware.chip else null()
    matching = select(*same, known_chip.label("known_chip"), func.count()).where(
        *device_query.accepted(session, campaign.query, now)
    )
    rows = session.execute(matching.group_by(*same, "known_chip")).tuples()
    for version, application, hardware, transport, is_silent, chip, count in rows:
        reason = ""
        other_chip = firmware.chip and chip not in (None, firmware.chip)
        if other_chip:
            reason = f"have another chip ({chip})"
        elif firmware_match.other_application(firmware, application):
            reason = f"run another application ({application})"
        elif firmware_match.other_hardware(firmware, hardware):
            reason = f"have other hardware ({hardware})"
        elif firmware_match.other_transport(firmware, transport):
            reason = f"update through {firmware_match.TRANSPORTS[transport]}"
        if campaign.mismatched and not other_chip:
            beyond += count if reason else 0
            reason = ""
        if not reason and campaign.only_outdated and version is not None:
            if not is_older(version, firmware.version):
                reason = f"already run {firmware.version} or a newer version"
        if reason:
            left[reason] = left.get(reason, 0) + count
            continue
        total += count
        unheard += count if is_silent else 0
        if (firmware.application is not None and application is None) or (
            # The hardware of an image is its chip, unless the upload says otherwise.
            firmware.hardware not in (None, chip) and hardware is None
        ):
            unknown += count
    sizes = campaign_rules.bounds(campaign.stages, total)
    what = f"{firmware.application or ''} {firmware.version}".strip()
    mark = hashlib.sha256(
        json.dumps(
            [firmware.id, campaign.query, sizes, campaign.mismatched, campaign.only_outdated,
             campaign.success_share, campaign.soak_s, campaign.stop_share, campaign.stop_least,
             campaign.stop_on, campaign.timeout_s, campaign.active_most, campaign.starts_per_min,
             campaign.start_at]
        ).encode()
    ).hexdigest()[:16]  # fmt: skip
    return Plan(total, sizes, campaign.stages, what, left, unknown, beyond, unheard, mark)


def expect_growth(plan: Plan) -> None:
    """Raise OptionError if the stages do not grow, or do not end with all devices."""
    total, before = plan.total, 0
    if not total:
        return
    for number, stage in enumerate(plan.stages, 1):
        size = campaign_rules.size_of(stage, total)
        if size > total:
            raise OptionError(
                f"stage {number} is {stage_words(stage)}, but the campaign has only {total}"
            )
        if size < before:
            raise OptionError(
                f"each stage must be at least as large as the previous one, but stage {number} "
                f"({stage_words(stage)}) has {size} of {total} devices, and stage {number - 1} "
                f"has {before}"
            )
        before = size


def sentences(plan: Plan, campaign: Campaign, now: bool = False) -> list[str]:
    """Describe the plan in numbers of devices, in words for every medium.

    `now`: it would start immediately, whatever its start time is.
    """
    total = plan.total
    if not total:
        found = [f"No device would get {plan.what}."]
        if not plan.left:
            found.append("No device in the fleet matches the query.")
    else:
        found = [f"{_devices(total)} would get {plan.what}."]
    before = 0
    for number, size in enumerate(plan.sizes, 1):
        more = "" if number == 1 else f" ({size - before:,} more)"
        found.append(f"Stage {number}: {_devices(size)}{more}.")
        before = size
    groups = sorted(plan.left.items(), key=lambda each: -each[1])
    for reason, count in groups[:NAMED_MOST]:
        verb = reason if count > 1 else _singular(reason)
        found.append(f"Left out: {_devices(count)} that {verb}.")
    if len(groups) > NAMED_MOST:
        rest = sum(count for _, count in groups[NAMED_MOST:])
        found.append(f"Left out: {_devices(rest)} for other reasons.")
    if plan.unknown:
        found.append(
            f"The application or hardware of {_devices(plan.unknown)} is not known; the campaign "
            "includes them."
        )
    if plan.beyond:
        found.append(
            f"{_devices(plan.beyond)} with another application or other hardware would get it, "
            "too."
        )
    if plan.unheard:
        found.append(
            f"{_devices(plan.unheard)} {_have(plan.unheard)} not reported since a backup was "
            "restored. The version in the backup may be old, so the cloud pushes nothing to a "
            "device before its next report."
        )
    if len(plan.sizes) > 1:
        found.append(
            f"The next stage starts when {100 * campaign.success_share:g} % of the devices "
            f"in the stages so far are done{_wait(campaign.soak_s)}."
        )
    found.append(stop_words(campaign))
    found.append(_timeout_words(campaign.timeout_s))
    if campaign.active_most:
        found.append(f"At most {_devices(campaign.active_most)} download at the same time.")
    if campaign.starts_per_min:
        found.append(f"At most {_devices(campaign.starts_per_min)} start per minute.")
    if not (campaign.active_most or campaign.starts_per_min):
        found.append("The number of simultaneous downloads is not limited.")
    if campaign.start_at is not None and not now:
        found.append(f"The campaign starts at {times.minute(campaign.start_at)}.")
    return found


def _timeout_words(timeout_s: float | None) -> str:
    if timeout_s is None:
        return "There is no timeout: the campaign waits for every device to finish."
    return f"A device counts as failed if it is not done {_span(timeout_s)} after its first push."


def stop_words(campaign: Campaign) -> str:
    """Describe the stop rule."""
    if campaign.stop_share is None:
        return "The campaign never stops automatically."
    which = "at least once" if campaign.stop_on == FIRST else "after all retries"
    return (
        f"The campaign stops automatically when {100 * campaign.stop_share:g} % of the finished "
        f"devices have failed {which}, but not before {_devices(campaign.stop_least)} "
        f"{_have(campaign.stop_least)} finished."
    )


def _wait(soak_s: float) -> str:
    return f" and another {_span(soak_s)} have passed" if soak_s else ""


def _span(seconds: float) -> str:
    """Return a duration exactly as somebody has entered it."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g} {unit}"
    return f"{seconds:g} s"


def _singular(reason: str) -> str:
    for many, one in (
        ("already run ", "already runs "),
        ("run ", "runs "),
        ("have ", "has "),
        ("update ", "updates "),
    ):
        if reason.startswith(many):
            return one + reason.removeprefix(many)
    return reason


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _devices(count: int) -> str:
    return f"{count:,} device{'' if count == 1 else 's'}"
