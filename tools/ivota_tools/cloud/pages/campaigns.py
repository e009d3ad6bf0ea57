"""The list of campaigns, and the page of one campaign with its progress."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from ..api.campaign_schemas import PlanOut
from ..api.campaigns import plan_out
from ..rollout import (
    assignment_states,
    campaign_counts,
    campaign_preview,
    campaign_rules,
    campaign_wait_reason,
    device_update_states,
    wait_reason,
)
from ..rollout.device_query import QueryError
from ..store.models import Assignment, Campaign, Device, Failure, Firmware
from .formatting import counted, sentence
from .page_guard import route
from .page_visit import Setting, Visit
from .pagination import Order, row

PAGE = 25
FAILURES = 20  # distinct reasons
SHOWN = 12  # devices per reason


def routes(setting: Setting) -> list[BaseRoute]:
    return [
        route(setting, "/campaigns", overview),
        route(setting, "/campaigns/{id:int}", one),
    ]


def overview(visit: Visit) -> Response:
    with visit.database.reading() as session:
        count = session.scalar(select(func.count()).select_from(Campaign))
        query = select(Campaign).options(joinedload(Campaign.firmware))
        page = visit.page(session, query, Order([Campaign.id], descending=True), PAGE, count)
        found = page.rows
        tallies = campaign_counts.tallies(session, [each.id for each in found])
        has_firmware = session.scalar(select(Firmware.id).limit(1)) is not None
        return visit.show(
            "campaigns.html",
            campaigns=[(each, tallies.get(each.id, campaign_rules.Tally())) for each in found],
            page=page,
            summary=campaign_rules.summary,
            has_firmware=has_firmware,
        )


def find(session: Session, number: int) -> Campaign:
    found = row(session, Campaign, number)
    if found is None:
        raise HTTPException(404, "This campaign does not exist.")
    return found


def one(visit: Visit) -> Response:
    now = time.time()
    with visit.database.reading() as session:
        campaign = find(session, visit.number("id"))
        tallies = campaign_counts.tally(session, campaign)
        total = sum(tallies, campaign_rules.Tally())
        states = campaign_counts.states(session, campaign)
        failures, reasons = _failures(session, campaign)
        return visit.show(
            "campaign.html",
            now=now,
            campaign=campaign,
            tallies=tallies,
            total=total,
            summary=campaign_rules.summary,
            states=states,
            stage_words=[stage_words(each) for each in campaign.stages],
            failures=failures,
            more_failures=reasons - len(failures),
            active=_active(session, campaign),
            stalled=lambda attempt: device_update_states.is_stalled(attempt, now),
            waits=campaign_wait_reason.waits_for(campaign, tallies, now),
            unasked=_unasked(session, campaign),
            plan=_plan(session, campaign, now),
            may_pause=campaign.state == campaign_rules.RUNNING,
            # Nothing can be resumed if no devices remain.
            may_resume=campaign.state in (campaign_rules.PAUSED, campaign_rules.STOPPED)
            and (total.open > 0 or not tallies),
            may_cancel=campaign.state not in campaign_rules.ENDED,
            may_delete=campaign.state
            in (campaign_rules.DRAFT, campaign_rules.SCHEDULED, *campaign_rules.ENDED),
            may_retry=total.failed > 0 and campaign.state != campaign_rules.CANCELLED,
        )


def _plan(session: Session, campaign: Campaign, now: float) -> PlanOut | None:
    """Plan a campaign that has not started; None if it has, or if its query is not valid."""
    if campaign.state not in (campaign_rules.DRAFT, campaign_rules.SCHEDULED):
        return None
    try:
        plan = campaign_preview.make(session, campaign, now)
    except QueryError:  # only an older cloud accepted it; such a campaign cannot start
        return None
    return plan_out(plan, campaign, now=True)


def _failures(session: Session, campaign: Campaign) -> tuple[list[dict[str, Any]], int]:
    """Group the campaign's failures by reason, most frequent first, with some of their devices.

    The second value is the number of all groups.

    Each attempt counts once for each of its reasons, and is shown with its current state. A
    failure stays listed, whatever happened later.
    """
    reasons = session.execute(
        select(Failure.code, Failure.message, Assignment.state,
               func.count(Assignment.id.distinct()), func.min(Failure.at))
        .join(Assignment, Failure.assignment_id == Assignment.id)
        .where(Assignment.campaign_id == campaign.id)
        .group_by(Failure.code, Failure.message, Assignment.state)
    ).tuples().all()  # fmt: skip
    found: dict[tuple[int | None, str | None], dict[str, Any]] = {}
    for code, message, state, count, first in reasons:
        reason = found.setdefault(
            (code, message),
            {"code": code, "message": message, "count": 0, "devices": [], "states": {},
             "first": first},
        )  # fmt: skip
        reason["count"] += count
        reason["first"] = min(reason["first"], first)
        reason["states"][state] = count
    shown = sorted(found.values(), key=lambda each: (-each["count"], each["first"]))[:FAILURES]
    for reason in shown:
        rows = session.execute(
            select(Device.id, Device.product_id, Device.device_name)
            .join(Assignment, Assignment.device_id == Device.id)
            .join(Failure, Failure.assignment_id == Assignment.id)
            .where(
                Assignment.campaign_id == campaign.id,
                Failure.code.is_not_distinct_from(reason["code"]),
                Failure.message.is_not_distinct_from(reason["message"]),
            )
            .group_by(Device.id, Device.product_id, Device.device_name)
            .order_by(func.min(Failure.at), Device.id)
            .limit(SHOWN)
        )
        reason["devices"] = [(number, f"{product}/{name}") for number, product, name in rows]
    return shown, len(found)


def _unasked(session: Session, campaign: Campaign) -> str:
    """Say that nobody has requested the file since a push; "" if every file was requested."""
    found = select(Assignment.id).where(
        Assignment.campaign_id == campaign.id, Assignment.current, Assignment.unasked
    )
    if session.scalar(found.limit(1)) is None:
        return ""
    return sentence(wait_reason.unasked_words(session, on_page=True))


def _active(session: Session, campaign: Campaign) -> list[Any]:
    query = (
        select(Assignment)
        .where(
            Assignment.campaign_id == campaign.id,
            Assignment.state.in_(assignment_states.ACTIVE),
            Assignment.current,
        )
        .order_by(Assignment.device_id)
        .options(joinedload(Assignment.device))
        .limit(SHOWN)
    )  # fmt: skip
    return list(session.scalars(query))


def stage_words(stage: dict[str, Any]) -> str:
    if stage.get("count") is not None:
        return counted(int(stage["count"]), "device")
    return f"{stage['percent']:g} %"
