"""Explain in one sentence why a device is waiting."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from ...common.device_silence import silent_s
from ...common.durations import span
from ..store.device_acceptance import PENDING, RETIRED
from ..store.models import DDI, Assignment, Campaign, Device, Member, Setting
from . import assignment_states, campaign_counts, campaign_rules, push_sender, result_codes

PUBLIC_URL = "public_url"  # the setting that contains the address in pushes


def why(session: Session, device: Device, now: float, *, on_page: bool = False) -> str:
    """Return the reason; `on_page`: for a reader who does not run the cloud's command."""
    if device.status == PENDING:
        return "pending: accept the device first"
    if device.status == RETIRED:
        return "retired: the device receives no updates"
    assignment = device.assignment
    waiting = _waits_for_stage(session, device, now)
    silent = now - (now if device.last_seen is None else device.last_seen)
    is_quiet = silent > silent_s(device.report_interval_s)
    quiet = f"; last seen {span(silent)} ago" if is_quiet else ""
    if assignment is None:
        if device.last_seen is None:
            quiet = "; the device has never reported"
        return (
            waiting
            or _cancelled_before(session, device)
            or ("no update has been assigned to the device")
        ) + quiet
    state, version = assignment.state, assignment.firmware.version
    if state == assignment_states.DONE:
        if assignment.left_target:
            return f"updated to {version}, but the device has since reported {device.version}"
        if device.version != version:
            waiting = waiting or (
                f"updated to {version}; the device has not reported that version yet"
            )
        return (waiting or f"it runs {version}") + quiet
    if state == assignment_states.FAILED:
        failed = f"failed permanently: {_words(assignment)}"
        if waiting:  # a later campaign has the device
            return f"{waiting}; its update to {version} {failed}{quiet}"
        return f"{failed}; retry the update, or push another version{quiet}"
    if state == assignment_states.CANCELLED:
        by = assignment.campaign
        if by and by.state == campaign_rules.CANCELLED:
            words = f"the update to {version} was cancelled with campaign {by.name!r}"
        else:
            words = f"an operator cancelled the update to {version}"
        return (waiting or words) + quiet
    if state == assignment_states.SKIPPED:
        return f"skipped: the device runs {device.version}, which is not older than {version}"
    if state == assignment_states.CURRENT and not assignment.pushes:
        return f"it runs {version}"
    if assignment.restored:
        return (
            "a backup was restored: the device's next report will show whether it still needs "
            f"{version}{quiet}"
        )
    campaign = assignment.campaign
    if campaign and campaign.state != campaign_rules.RUNNING:
        reason = f" ({campaign.reason})" if campaign.reason else ""
        ended = campaign.state in campaign_rules.ENDED
        pushes = "no more pushes" if ended else "no pushes until it is resumed"
        return f"campaign {campaign.name!r} is {campaign.state}{reason}: {pushes}"
    by_ddi = device.transport == DDI
    if device.last_seen is None:
        if by_ddi:
            return "the device has never polled; it gets the update at its first poll"
        return "the device has never reported; the cloud will push after the first report"
    if state == assignment_states.RETRY:
        wait = max((assignment.next_push_at or now) - now, 0)
        what = " with the full firmware" if assignment.whole_only else ""
        return f"retry{what} in {span(wait)}; last failure: {_words(assignment)}{quiet}"
    if state == assignment_states.CURRENT:
        return f"the device runs {version} but has not confirmed the update{quiet}"
    if state == assignment_states.WAITING and campaign and assignment.next_push_at is not None:
        if push_sender.places(session, campaign, now) == 0:
            return f"queued: campaign {campaign.name!r} has reached its download limit"
    if assignment.unasked:
        return unasked_words(session, on_page=on_page)
    if state in (assignment_states.DOWNLOADING, assignment_states.BURNING):
        doing = "downloading" if state == assignment_states.DOWNLOADING else "installing"
        return f"{doing}, {assignment.percent or 0} %{quiet}"
    if by_ddi and state == assignment_states.PUSHED:
        said = f": {assignment.result_msg}" if assignment.result_msg else ""
        return f"offered, but the device has not started the update{said}{quiet}"
    if by_ddi:
        return f"the device gets the update at its next poll{quiet}"
    if state == assignment_states.PUSHED:
        # With a code, the message is from an earlier failure.
        notice = assignment.result_msg if assignment.result_code is None else None
        said = f": {notice}" if notice else ""
        times = "once" if assignment.pushes == 1 else f"{assignment.pushes} times"
        return f"pushed {times}, but the download has not started{said}{quiet}"
    return f"the cloud will push after the device's next report{quiet}"


def unasked_words(session: Session, *, on_page: bool) -> str:
    """Say that nobody has requested the file, and at which address."""
    found = session.get(Setting, PUBLIC_URL)
    called = "public URL" if on_page else "--public-url"
    return (
        f"pushed, but no device has requested the file at {found.value if found else '?'}/files/: "
        f"check that devices can reach this address, which is the cloud's {called}"
    )


def _waits_for_stage(session: Session, device: Device, now: float) -> str | None:
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
    words = (
        f"waiting for stage {member.stage + 1} of campaign {campaign.name!r}, which is "
        f"{campaign.state} in stage {campaign.stage + 1} with {100 * reached.success:.0f} % "
        f"done ({100 * campaign.success_share:g} % required)"
    )
    if campaign.state == campaign_rules.RUNNING and campaign.stage_good_at is not None:
        left = max(campaign.stage_good_at + campaign.soak_s - now, 0)
        words += f"; the next stage starts in {span(left)}"
    return words


def _cancelled_before(session: Session, device: Device) -> str | None:
    """Name the last campaign of a device, if it was cancelled before the device's turn."""
    query = (
        select(Campaign)
        .join(Member, Campaign.id == Member.campaign_id)
        .where(Member.device_id == device.id)
        .order_by(Campaign.id.desc())
        .limit(1)
    )
    campaign = session.scalar(query)
    if campaign is None or campaign.state != campaign_rules.CANCELLED:
        return None
    return (
        f"campaign {campaign.name!r} (version {campaign.firmware.version}) was cancelled before "
        "the device's turn"
    )


def _words(assignment: Assignment) -> str:
    words = f"{assignment.failure_code} {assignment.failure_msg or ''}".strip()
    if assignment.state == assignment_states.FAILED:
        if assignment.result_msg not in (None, assignment.failure_msg):  # a timeout came later
            words += f"; {assignment.result_msg}"
    return words


def why_failed(assignment: Assignment) -> str:
    """Describe the last failure in the device's own words, or by its code."""
    said = assignment.failure_msg or ""
    if assignment.failure_code == -5 and said:
        return said  # the message of the application or installer needs no explanation
    meaning = result_codes.code(assignment.failure_code)
    return f"{meaning}: {said}" if said else meaning
