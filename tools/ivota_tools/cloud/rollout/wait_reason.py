"""Why a device is where it is: one sentence that says what it waits for."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..store.device_registry import PENDING, RETIRED
from ..store.models import Assignment, Campaign, Device, Member
from . import assignment_rules, campaign_counts, campaign_rules, push_sender

SILENT_S = 3600.0


def why(session: Session, device: Device, now: float) -> str:
    if device.status == PENDING:
        return "pending: accept the device before you update it"
    if device.status == RETIRED:
        return "retired: the device gets no updates"
    assignment = device.assignment
    waiting = _waits_for_stage(session, device)
    if assignment is None:
        return waiting or "no firmware is assigned"
    state, version = assignment.state, assignment.firmware.version
    if state == assignment_rules.DONE:
        if assignment.left_target:
            return f"done with {version}, but the device has since reported {device.version}"
        if device.version != version:
            return waiting or f"done with {version}; the device has not reported that version yet"
        return waiting or f"running {version}"
    if state == assignment_rules.FAILED:
        return (
            f"failed permanently: {_words(assignment)}; retry the update or push another version"
        )
    if state == assignment_rules.CANCELLED:
        return waiting or f"an operator cancelled the update to {version}"
    if state == assignment_rules.SKIPPED:
        return f"running {device.version}, which is not older than {version}"
    if state == assignment_rules.CURRENT and not assignment.pushes:
        return f"running {version}"
    campaign = assignment.campaign
    if campaign and campaign.state != campaign_rules.RUNNING:
        reason = f" ({campaign.reason})" if campaign.reason else ""
        pushes = "no more pushes"
        if campaign.state not in campaign_rules.ENDED:
            pushes = "no pushes until you resume it"
        return f"campaign {campaign.name!r} is {campaign.state}{reason}: {pushes}"
    if device.last_seen is None:
        return "waiting for the device's first report before pushing the update"
    silent = now - device.last_seen
    quiet = f"; last seen {_span(silent)} ago" if silent > SILENT_S else ""
    if state == assignment_rules.RETRY:
        wait = max((assignment.next_push_at or now) - now, 0)
        what = " with the whole firmware" if assignment.whole_only else ""
        return f"retrying{what} in {_span(wait)} after {_words(assignment)}{quiet}"
    if state == assignment_rules.CURRENT:
        return f"running {version}; waiting for the device to confirm the update{quiet}"
    if state == assignment_rules.WAITING and campaign and assignment.next_push_at is not None:
        if push_sender.places(session, campaign, now) == 0:
            return f"waiting: campaign {campaign.name!r} has reached its download limit"
    if state in (assignment_rules.DOWNLOADING, assignment_rules.BURNING):
        doing = "installing" if state == assignment_rules.BURNING else state
        return f"{doing}, {assignment.percent or 0} %{quiet}"
    if state == assignment_rules.PUSHED:
        # With a code they are the words of a failure before.
        notice = assignment.result_msg if assignment.result_code is None else None
        said = f": {notice}" if notice else ""
        return f"pushed {_times(assignment.pushes)}; the download has not started{said}{quiet}"
    return f"waiting for the device's next report before pushing the update{quiet}"


def _waits_for_stage(session: Session, device: Device) -> str | None:
    query = (
        select(Member, Campaign)
        .join(Campaign, Campaign.id == Member.campaign_id)
        .where(Member.device_id == device.id, Member.assignment_id.is_(None))
        .where(Campaign.state.not_in(campaign_rules.ENDED))
        .order_by(Campaign.id.desc())
    )
    found = session.execute(query).first()
    if found is None:
        return None
    member, campaign = found
    reached = sum(
        campaign_counts.tally(session, campaign)[: campaign.stage + 1], campaign_rules.Tally()
    )
    return (
        f"waiting for stage {member.stage + 1} of campaign {campaign.name!r}, which is "
        f"{campaign.state} in stage {campaign.stage + 1} with {100 * reached.success:.0f} % done "
        f"({100 * campaign.success_share:g} % required)"
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _words(assignment: Assignment) -> str:
    return f"{assignment.result_code} {assignment.result_msg or ''}".strip()


def _span(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def why_failed(assignment: Assignment) -> str:
    """The last failure in words: the device's own where it has some, else what its code means."""
    meanings = {
        -1: "the download timed out",
        -2: "the server did not find the firmware",
        -3: "the download URL had expired",
        -4: "the download is corrupt",
        -5: "the board could not install it",
    }
    code, said = assignment.result_code, assignment.result_msg or ""
    if code is None:
        return said or "no reason reported"
    meaning = meanings.get(code, f"result code {code}")
    if code == -5 and said:
        return said  # what the application or the installer said leaves nothing to explain
    return f"{meaning}: {said}" if said else meaning
