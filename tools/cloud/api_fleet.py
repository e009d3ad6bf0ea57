"""The HTTP API of a fleet: tags, groups, campaigns, single devices, tokens, the audit log."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Path
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from . import audit, campaigns, explain, firmware, query, schemas, stages
from . import schemas_fleet as fleet
from .access import Guard, create_token
from .api import ERRORS, ID_MOST, After, Page, device_by_id
from .assign import touch
from .database import Database
from .models import Assignment, Audit, Campaign, DeviceTag, Group, Member, Report, Token

QUEUED = "queued"  # a member whose stage has not begun
Number = Annotated[int, Path(ge=1, le=ID_MOST)]


def routes(
    database: Database, *, wake: Callable[[], None], may: Guard, may_admin: Guard
) -> APIRouter:
    """`wake` is called when a push may be due."""
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses=ERRORS)
    _devices(router, database, wake, may)
    _groups(router, database, may)
    _campaigns(router, database, wake, may)
    _admin(router, database, may_admin)
    return router


def _devices(router: APIRouter, database: Database, wake: Callable[[], None], may: Guard) -> None:
    @router.post("/devices/{device_id}/tags")
    def post_tags(
        device_id: Number, tags: fleet.TagsIn, who: str = Depends(may)
    ) -> schemas.DeviceOut:
        with database.writing() as session:
            device = device_by_id(session, device_id)
            now = ({each.tag for each in device.tags} | set(tags.add)) - set(tags.remove)
            session.execute(delete(DeviceTag).where(DeviceTag.device_id == device_id))
            session.add_all(DeviceTag(device_id=device_id, tag=tag) for tag in sorted(now))
            touch(session, device)
            audit.note(session, who, "device tag", device.name, tags=sorted(now))
            session.flush()
            session.refresh(device, ["tags"])
            return schemas.device_out(device)

    @router.put("/devices/{device_id}/secret")
    def put_secret(
        device_id: Number, given: fleet.SecretIn, who: str = Depends(may)
    ) -> schemas.DeviceOut:
        """What the device signs in with, where the broker asks for that."""
        try:
            base64.b64decode(given.secret or "", validate=True)
        except (binascii.Error, ValueError):
            raise HTTPException(422, "the secret is not base64") from None
        with database.writing() as session:
            device = device_by_id(session, device_id)
            device.secret = given.secret
            what = "device secret" if given.secret else "device secret removed"
            audit.note(session, who, what, device.name)
            return schemas.device_out(device)

    @router.get("/devices/{device_id}/why")
    def get_why(device_id: Number) -> schemas.WhyOut:
        """What the device waits for."""
        with database.reading() as session:
            device = device_by_id(session, device_id)
            return schemas.WhyOut(
                device=device.name,
                state=schemas.device_out(device).state,
                why=explain.why(session, device, time.time()),
            )

    @router.get("/devices/{device_id}/attempts")
    def get_attempts(device_id: Number) -> list[schemas.AttemptOut]:
        """Every target it was ever given, oldest first, and how each ended."""
        with database.reading() as session:
            device_by_id(session, device_id)
            found = select(Assignment).where(Assignment.device_id == device_id)
            rows = session.scalars(found.order_by(Assignment.id))
            return [schemas.AttemptOut.model_validate(each) for each in rows]

    @router.get("/attempts/{attempt_id}/reports")
    def get_attempt_reports(attempt_id: Number) -> list[schemas.ReportOut]:
        with database.reading() as session:
            if session.get(Assignment, attempt_id) is None:
                raise HTTPException(404, f"there is no attempt with the id {attempt_id}")
            found = select(Report).where(Report.assignment_id == attempt_id)
            rows = session.scalars(found.order_by(Report.id).limit(10_000))
            return [schemas.report_out(each) for each in rows]

    @router.post("/devices/{device_id}/retry")
    def post_retry(device_id: Number, who: str = Depends(may)) -> schemas.DeviceOut:
        """The same target again, after a failure or a cancel."""
        with database.writing() as session:
            device = device_by_id(session, device_id)
            campaigns.retry_device(session, device, time.time(), who)
            answer = schemas.device_out(device)
        wake()
        return answer

    @router.post("/devices/{device_id}/cancel")
    def post_cancel(device_id: Number, who: str = Depends(may)) -> schemas.DeviceOut:
        """No push any more, also in mid-download."""
        with database.writing() as session:
            device = device_by_id(session, device_id)
            campaigns.cancel_device(session, device, time.time(), who)
            return schemas.device_out(device)


def _groups(router: APIRouter, database: Database, may: Guard) -> None:
    def shown(session: Session, group: Group) -> fleet.GroupOut:
        count = len(query.find(session, group.query, time.time()))
        return fleet.GroupOut(id=group.id, name=group.name, query=group.query, devices=count)

    @router.get("/groups")
    def get_groups() -> list[fleet.GroupOut]:
        with database.reading() as session:
            return [shown(session, each) for each in session.scalars(select(Group))]

    @router.put("/groups")
    def put_group(given: fleet.GroupIn, who: str = Depends(may)) -> fleet.GroupOut:
        """Makes a group, or gives one another query; campaigns that have begun do not change."""
        query.parse(given.query)
        with database.writing() as session:
            group = session.scalar(select(Group).where(Group.name == given.name))
            if group is None:
                group = Group(name=given.name, query=given.query, created_at=time.time())
                session.add(group)
            group.query = given.query
            audit.note(session, who, "group", given.name, query=given.query)
            session.flush()
            return shown(session, group)

    @router.get("/groups/{group_id}/devices")
    def get_group_devices(group_id: Number) -> list[schemas.DeviceOut]:
        with database.reading() as session:
            group = _group(session, group_id)
            return [schemas.device_out(d) for d in query.find(session, group.query, time.time())]

    @router.delete("/groups/{group_id}", status_code=204)
    def delete_group(group_id: Number, who: str = Depends(may)) -> None:
        with database.writing() as session:
            group = _group(session, group_id)
            session.delete(group)
            audit.note(session, who, "group removed", group.name)

    @router.get("/query")
    def get_query(text: str = "") -> list[schemas.DeviceOut]:
        """The devices that a query means now, such as `tag:beta version<0.2 -name:lab-*`."""
        with database.reading() as session:
            return [
                schemas.device_out(device) for device in query.find(session, text, time.time())
            ]


def _campaigns(
    router: APIRouter, database: Database, wake: Callable[[], None], may: Guard
) -> None:
    @router.get("/campaigns")
    def get_campaigns() -> list[fleet.CampaignOut]:
        with database.reading() as session:
            found = session.scalars(select(Campaign).order_by(Campaign.id))
            return [campaign_out(session, each) for each in found]

    @router.post("/campaigns", status_code=201)
    def post_campaign(given: fleet.CampaignIn, who: str = Depends(may)) -> fleet.CampaignOut:
        if (given.version is None) == (given.firmware_id is None):
            raise HTTPException(422, "name the firmware by version or by firmware_id")
        if (given.group is None) == (given.query is None):
            raise HTTPException(422, "name the devices by group or by query")
        with database.writing() as session:
            answer = campaign_out(session, create(session, given, who))
        wake()
        return answer

    @router.get("/campaigns/{campaign_id}")
    def get_campaign(campaign_id: Number) -> fleet.CampaignOut:
        with database.reading() as session:
            return campaign_out(session, _campaign(session, campaign_id))

    @router.get("/campaigns/{campaign_id}/devices")
    def get_campaign_devices(
        campaign_id: Number, after: After = 0, limit: Page = 1000
    ) -> list[schemas.DeviceOut]:
        """Its devices by id, as they are now; `after` is the id of the last one already seen."""
        with database.reading() as session:
            _campaign(session, campaign_id)
            found = select(Member).where(
                Member.campaign_id == campaign_id, Member.device_id > min(after, ID_MOST)
            )
            rows = session.scalars(found.order_by(Member.device_id).limit(limit))
            return [schemas.device_out(each.device) for each in rows]

    @router.post("/campaigns/{campaign_id}/start")
    def post_start(campaign_id: Number, who: str = Depends(may)) -> fleet.CampaignOut:
        with database.writing() as session:
            campaign = _campaign(session, campaign_id)
            campaigns.start(session, campaign, time.time(), who)
            answer = campaign_out(session, campaign)
        wake()
        return answer

    @router.post("/campaigns/{campaign_id}/pause")
    def post_pause(campaign_id: Number, who: str = Depends(may)) -> fleet.CampaignOut:
        with database.writing() as session:
            campaign = _campaign(session, campaign_id)
            campaigns.pause(session, campaign, who)
            return campaign_out(session, campaign)

    @router.post("/campaigns/{campaign_id}/resume")
    def post_resume(campaign_id: Number, who: str = Depends(may)) -> fleet.CampaignOut:
        """Goes on, also after it has stopped by itself."""
        with database.writing() as session:
            campaign = _campaign(session, campaign_id)
            campaigns.resume(session, campaign, who)
            answer = campaign_out(session, campaign)
        wake()
        return answer

    @router.post("/campaigns/{campaign_id}/cancel")
    def post_cancel(campaign_id: Number, who: str = Depends(may)) -> fleet.CampaignOut:
        """For good: no push any more, also for a device in mid-download."""
        with database.writing() as session:
            campaign = _campaign(session, campaign_id)
            campaigns.cancel(session, campaign, time.time(), who)
            return campaign_out(session, campaign)

    @router.post("/campaigns/{campaign_id}/retry")
    def post_retry(campaign_id: Number, who: str = Depends(may)) -> fleet.RetryOut:
        """Another attempt for each device that stands as failed, and for no other."""
        with database.writing() as session:
            campaign = _campaign(session, campaign_id)
            count = campaigns.retry_failed(session, campaign, time.time(), who)
        wake()
        return fleet.RetryOut(devices=count)


def _admin(router: APIRouter, database: Database, may_admin: Guard) -> None:
    @router.get("/tokens")
    def get_tokens(who: str = Depends(may_admin)) -> list[fleet.TokenOut]:
        with database.reading() as session:
            found = session.scalars(select(Token).order_by(Token.id))
            return [fleet.TokenOut.model_validate(each) for each in found]

    @router.post("/tokens", status_code=201)
    def post_token(given: fleet.TokenIn, who: str = Depends(may_admin)) -> fleet.NewTokenOut:
        """From the first token on, nothing is answered without one; so the first is an admin's."""
        with database.writing() as session:
            token, word = create_token(session, given.name, given.role, who)
            shown = fleet.TokenOut.model_validate(token)
        return fleet.NewTokenOut(**shown.model_dump(), token=word)

    @router.delete("/tokens/{token_id}", status_code=204)
    def delete_token(token_id: Number, who: str = Depends(may_admin)) -> None:
        with database.writing() as session:
            token = session.get(Token, token_id)
            if token is None:
                raise HTTPException(404, f"there is no token with the id {token_id}")
            session.delete(token)
            audit.note(session, who, "token removed", token.name)

    @router.get("/audit")
    def get_audit(after: After = 0, limit: Page = 1000) -> list[fleet.AuditOut]:
        """Who changed what, oldest first; `after` is the id of the last line already seen."""
        with database.reading() as session:
            query = select(Audit).where(Audit.id > min(after, ID_MOST))
            rows = session.scalars(query.order_by(Audit.id).limit(limit))
            return [fleet.AuditOut.model_validate(each) for each in rows]


def create(session: Session, given: fleet.CampaignIn, who: str) -> Campaign:
    """Also starts it where nothing else is said. Raises what the parts of the order raise."""
    chosen = firmware.find(session, given.version, given.firmware_id, given.application)
    text = given.query
    if given.group is not None:
        group = session.scalar(select(Group).where(Group.name == given.group))
        if group is None:
            raise HTTPException(404, f"there is no group {given.group!r}")
        text = group.query
    query.parse(text or "")
    same = {name: getattr(given, name) for name in _SAME}
    campaign = Campaign(
        **same,
        firmware=chosen,
        query=text or "",
        stages=[each.model_dump(exclude_none=True) for each in given.stages],
        state=stages.SCHEDULED if given.start_at is not None else stages.DRAFT,
        created_at=time.time(),
    )
    session.add(campaign)
    session.flush()
    audit.note(session, who, "campaign create", f"{campaign.id} {campaign.name}",
               version=chosen.version, query=campaign.query)  # fmt: skip
    if given.start_at is None and not given.draft:
        campaigns.start(session, campaign, campaign.created_at, who)
    return campaign


_SAME = ("name", "success_share", "soak_s", "stop_share", "stop_least", "timeout_s",
         "active_most", "starts_per_min", "only_outdated", "start_at")  # fmt: skip


def campaign_out(session: Session, campaign: Campaign) -> fleet.CampaignOut:
    tallies = campaigns.tally(session, campaign)
    states = (
        select(Assignment.state, func.count())
        .select_from(Member)
        .outerjoin(Member.assignment)
        .where(Member.campaign_id == campaign.id)
        .group_by(Assignment.state)
    )
    columns = set(fleet.CampaignOut.model_fields) - {"firmware", "progress", "states"}
    return fleet.CampaignOut(
        **{name: getattr(campaign, name) for name in columns},
        firmware=schemas.FirmwareOut.model_validate(campaign.firmware),
        progress=[
            fleet.StageOut(members=each.members, good=each.good, failed=each.failed,
                           open=each.open, left_out=each.left_out)
            for each in tallies
        ],
        states={state or QUEUED: count for state, count in session.execute(states).tuples()},
    )  # fmt: skip


def _campaign(session: Session, campaign_id: int) -> Campaign:
    campaign = session.get(Campaign, campaign_id)
    if campaign is None:
        raise HTTPException(404, f"there is no campaign with the id {campaign_id}")
    return campaign


def _group(session: Session, group_id: int) -> Group:
    group = session.get(Group, group_id)
    if group is None:
        raise HTTPException(404, f"there is no group with the id {group_id}")
    return group
