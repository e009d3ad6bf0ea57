"""The HTTP API of campaigns."""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import APIRouter, Depends, HTTPException
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from ...common import times
from ...common.campaign_options import OptionError
from ..accounts import audit_log
from ..accounts.authorization import Guard
from ..mqtt.report_ingestion import WITH_TARGET
from ..rollout import (
    campaign_actions,
    campaign_counts,
    campaign_preview,
    campaign_removal,
    campaign_rules,
    campaign_wait_reason,
    device_query,
)
from ..rollout.campaign_actions import CampaignError
from ..rollout.campaign_preview import Plan
from ..store import firmware_store
from ..store.database import Database
from ..store.models import Campaign, Group, Member
from .campaign_schemas import (
    CampaignIn,
    CampaignOut,
    PlanOut,
    RetryOut,
    StageOut,
    StartIn,
    TotalsOut,
)
from .device_schemas import DeviceOut, device_out
from .firmware_schemas import FirmwareOut
from .route_parameters import ERRORS, After, Number, Page
from .row_lookup import rows_after

LATE_S = 60.0  # a start time may be so old


def routes(database: Database, *, wake: Callable[[], None], may: Guard) -> APIRouter:
    """Create the router; `wake` is called when a push may be due."""
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses=ERRORS)

    @router.get("/campaigns")
    def get_campaigns(after: After = 0, limit: Page = 100) -> list[CampaignOut]:
        """List the campaigns, oldest first; `after` is the last id of the previous page."""
        with database.reading() as session:
            found = rows_after(session, select(Campaign), Campaign.id, after, limit)
            return [campaign_out(session, each) for each in found]

    @router.post("/campaigns", status_code=201)
    def post_campaign(given: CampaignIn, who: str = Depends(may)) -> CampaignOut:
        number = create(database, given, who)
        wake()
        with database.reading() as session:
            return campaign_out(session, _campaign(session, number))

    @router.post("/campaigns/plan")
    def post_plan(given: CampaignIn) -> PlanOut:
        """Plan a campaign without creating it: which devices it would include, in which stages."""
        with database.reading() as session, session.no_autoflush:
            return plan_out(*plan_of(session, given))

    @router.get("/campaigns/{campaign_id}/plan")
    def get_plan(campaign_id: Number) -> PlanOut:
        """Plan a draft or a scheduled campaign, as if it started now."""
        with database.reading() as session:
            campaign = _campaign(session, campaign_id)
            plan = campaign_preview.make(session, campaign, time.time())
            return plan_out(plan, campaign, now=True)

    @router.get("/campaigns/{campaign_id}")
    def get_campaign(campaign_id: Number) -> CampaignOut:
        with database.reading() as session:
            return campaign_out(session, _campaign(session, campaign_id))

    @router.get("/campaigns/{campaign_id}/devices")
    def get_campaign_devices(
        campaign_id: Number, after: After = 0, limit: Page = 1000
    ) -> list[DeviceOut]:
        """List a campaign's devices by id; `after` is the last id of the previous page."""
        with database.reading() as session:
            _campaign(session, campaign_id)
            members = select(Member).where(Member.campaign_id == campaign_id)
            members = members.options(joinedload(Member.device).options(*WITH_TARGET))
            rows = rows_after(session, members, Member.device_id, after, limit)
            return [device_out(each.device) for each in rows]

    @router.delete("/campaigns/{campaign_id}", status_code=204)
    def delete_campaign(campaign_id: Number, who: str = Depends(may)) -> None:
        """Delete a draft or an ended campaign; devices keep their update history."""
        with database.reading() as session:
            _campaign(session, campaign_id)
        campaign_removal.delete_campaign(database, campaign_id, who)

    @router.post("/campaigns/{campaign_id}/start")
    def post_start(
        campaign_id: Number, given: StartIn | None = None, who: str = Depends(may)
    ) -> CampaignOut:
        """Start a draft, or start a scheduled campaign early."""
        start(database, campaign_id, who, given.plan if given else None)
        wake()
        with database.reading() as session:
            return campaign_out(session, _campaign(session, campaign_id))

    @router.post("/campaigns/{campaign_id}/pause")
    def post_pause(campaign_id: Number, who: str = Depends(may)) -> CampaignOut:
        with database.writing() as session:
            campaign = _campaign(session, campaign_id)
            campaign_actions.pause(session, campaign, who)
            return campaign_out(session, campaign)

    @router.post("/campaigns/{campaign_id}/resume")
    def post_resume(campaign_id: Number, who: str = Depends(may)) -> CampaignOut:
        """Resume a campaign that was paused or stopped automatically."""
        with database.writing() as session:
            campaign = _campaign(session, campaign_id)
            campaign_actions.resume(session, campaign, who)
            answer = campaign_out(session, campaign)
        wake()
        return answer

    @router.post("/campaigns/{campaign_id}/cancel")
    def post_cancel(campaign_id: Number, who: str = Depends(may)) -> CampaignOut:
        """Cancel permanently; a device that is downloading may still install the update."""
        with database.reading() as session:
            _campaign(session, campaign_id)
        campaign_actions.cancel(database, campaign_id, time.time(), who)
        with database.reading() as session:
            return campaign_out(session, _campaign(session, campaign_id))

    @router.post("/campaigns/{campaign_id}/retry")
    def post_retry(campaign_id: Number, who: str = Depends(may)) -> RetryOut:
        """Retry only the devices that failed."""
        with database.reading() as session:
            _campaign(session, campaign_id)
        count = campaign_actions.retry_failed(database, campaign_id, time.time(), who)
        wake()
        return RetryOut(devices=count)

    return router


def create(database: Database, given: CampaignIn, who: str) -> int:
    """Create a campaign and start it, unless it is a draft or scheduled for later; return its id.

    Raises OptionError, QueryError, CampaignError.
    """
    # Counting a large fleet takes a while, and must not delay the storage of reports.
    with database.reading() as session, session.no_autoflush:
        plan, _ = plan_of(session, given)
    _expect_plan(given.plan, plan)
    with database.writing() as session:
        campaign = _made(session, given)
        session.add(campaign)
        session.flush()
        audit_log.note(session, who, "campaign create", f"{campaign.id} {campaign.name}",
                       version=campaign.firmware.version, query=campaign.query,
                       devices=plan.total)  # fmt: skip
        if given.start_at is None and not given.draft:
            campaign_actions.start(session, campaign, campaign.created_at, who)
        return campaign.id


def start(database: Database, number: int, who: str, mark: str | None = None) -> None:
    """Start a draft or a scheduled campaign now.

    `mark` is that of the plan which somebody has seen, or None. Raises CampaignError, also if the
    plan has changed since, and QueryError.
    """
    with database.reading() as session:  # counting delays no reports
        campaign = _campaign(session, number)
        campaign_actions.expect_startable(campaign)
        _expect_plan(mark, campaign_preview.make(session, campaign, time.time()))
    with database.writing() as session:
        campaign_actions.start(session, _campaign(session, number), time.time(), who)


def _expect_plan(mark: str | None, plan: Plan) -> None:
    if mark not in (None, plan.mark):
        raise CampaignError("the plan has changed since you reviewed it: review it again")


def plan_of(session: Session, given: CampaignIn) -> tuple[Plan, Campaign]:
    """Plan an order without creating it. Raises OptionError, QueryError."""
    campaign = _made(session, given)
    plan = campaign_preview.make(session, campaign, campaign.created_at)
    campaign_preview.expect_growth(plan)
    return plan, campaign


def _made(session: Session, given: CampaignIn) -> Campaign:
    if (given.version is None) == (given.firmware_id is None):
        raise HTTPException(422, "specify the firmware with either version or firmware_id")
    if (given.group is None) == (given.query is None):
        raise HTTPException(422, "specify the devices with either group or query")
    chosen = firmware_store.find(session, given.version, given.firmware_id, given.application)
    text = given.query
    if text is not None:
        device_query.expect_words(text)
    if given.group is not None:
        group = session.scalar(select(Group).where(Group.name == given.group))
        if group is None:
            raise HTTPException(
                404,
                f"group {given.group!r} does not exist: list the groups with `ivota group list`",
            )
        text = group.query
    device_query.parse(text or "")
    if given.start_at is not None and given.start_at < time.time() - LATE_S:
        raise OptionError(
            f"the start time {times.minute(given.start_at)} is in the past: a time "
            "without a zone is taken as UTC"
        )
    same = {name: getattr(given, name) for name in _SAME}
    return Campaign(
        **same,
        firmware=chosen,
        query=text or "",
        stages=[each.model_dump(exclude_none=True) for each in given.stages],
        stage=0,
        mismatched=given.include_mismatched,
        state=campaign_rules.SCHEDULED if given.start_at is not None else campaign_rules.DRAFT,
        created_at=time.time(),
    )


def plan_out(plan: Plan, campaign: Campaign, now: bool = False) -> PlanOut:
    return PlanOut(
        devices=plan.total,
        sizes=list(plan.sizes),
        matching=plan.matching,
        left_out=plan.left,
        unknown=plan.unknown,
        mark=plan.mark,
        sentences=campaign_preview.sentences(plan, campaign, now),
    )


_SAME = ("name", "success_share", "soak_s", "stop_share", "stop_least", "stop_on", "timeout_s",
         "active_most", "starts_per_min", "only_outdated", "start_at")  # fmt: skip


def campaign_out(session: Session, campaign: Campaign) -> CampaignOut:
    tallies = campaign_counts.tally(session, campaign)
    columns = set(CampaignOut.model_fields) - {
        "firmware", "progress", "states", "selecting", "totals", "waits_for"
    }  # fmt: skip
    return CampaignOut(
        **{name: getattr(campaign, name) for name in columns},
        firmware=FirmwareOut.model_validate(campaign.firmware),
        progress=[
            StageOut(members=each.members, good=each.good, failed=each.failed,
                           open=each.open, left_out=each.left_out, failing=each.failing,
                           given_up=each.given_up, totals=totals_out(each))
            for each in tallies
        ],
        totals=totals_out(sum(tallies, campaign_rules.Tally())),
        states=campaign_counts.states(session, campaign),
        selecting=campaign.selection is not None,
        waits_for=campaign_wait_reason.waits_for(campaign, tallies, time.time()),
    )  # fmt: skip


def totals_out(tally: campaign_rules.Tally) -> TotalsOut:
    return TotalsOut(
        devices=tally.members,
        done=tally.good,
        failed=tally.all_failed,
        to_retry=tally.failing,
        remaining=tally.remaining,
        excluded=tally.away,
        summary=campaign_rules.summary(tally),
    )


def _campaign(session: Session, campaign_id: int) -> Campaign:
    campaign = session.get(Campaign, campaign_id)
    if campaign is None:
        raise HTTPException(
            404,
            f"campaign {campaign_id} does not exist: list the campaigns with "
            "`ivota campaign list`",
        )
    return campaign
