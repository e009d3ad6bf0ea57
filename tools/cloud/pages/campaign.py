"""Campaigns: made, watched, and what an operator may do to one."""

from __future__ import annotations

import datetime
import re
import time
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from .. import api_campaigns, campaigns, counts, rollout, stages
from ..models import Assignment, Campaign, Device, Firmware, Group, Member
from ..query import QueryError
from ..roles import OPERATOR
from ..schemas_fleet import CampaignIn, StageIn
from ..users import UserError
from ..versions import key
from . import looking
from .frame import Setting, Visit, acting, refusal, route, row, sentence
from .looking import Wanted
from .words import counted

PAGE = 25
FAILURES = 20  # different reasons
SHOWN = 12  # devices of each
PREVIEW = 5

_SPAN = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(s|min|h|d)")
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


def routes(setting: Setting) -> list[BaseRoute]:
    back = "/campaigns/{id}"

    def post(action: str) -> BaseRoute:
        long = {"cancel": cancel, "retry": retry}
        handler = acting(back, long.get(action, lambda visit: act(visit, action)))
        path = f"/campaigns/{{id:int}}/{action}"
        return route(setting, path, handler, method="POST", needed=OPERATOR)

    return [
        route(setting, "/campaigns", overview),
        route(setting, "/campaigns/new", new, needed=OPERATOR),
        route(setting, "/campaigns/new", create, method="POST", needed=OPERATOR),
        route(setting, "/campaigns/{id:int}", one),
        *(post(action) for action in ("start", "pause", "resume", "cancel", "retry")),
    ]


def overview(visit: Visit) -> Response:
    with visit.database.reading() as session:
        count = session.scalar(select(func.count()).select_from(Campaign)) or 0
        pages = max(-(-count // PAGE), 1)
        page = min(visit.page(), pages)
        query = select(Campaign).options(joinedload(Campaign.firmware)).order_by(
            Campaign.id.desc()).limit(PAGE).offset((page - 1) * PAGE)  # fmt: skip
        found = session.scalars(query).all()
        tallies = counts.tallies(session, [each.id for each in found])
        has_firmware = session.scalar(select(Firmware.id).limit(1)) is not None
        return visit.show(
            "campaigns.html",
            campaigns=[(each, tallies.get(each.id, stages.Tally())) for each in found],
            count=count,
            page=page,
            pages=pages,
            has_firmware=has_firmware,
        )


def find(session: Session, number: int) -> Campaign:
    found = row(session, Campaign, number)
    if found is None:
        raise HTTPException(404, "There is no such campaign.")
    return found


def one(visit: Visit) -> Response:
    now = time.time()
    with visit.database.reading() as session:
        campaign = find(session, visit.number("id"))
        tallies = counts.tally(session, campaign)
        total = sum(tallies, stages.Tally())
        states = counts.states(session, campaign)
        return visit.show(
            "campaign.html",
            now=now,
            campaign=campaign,
            tallies=tallies,
            total=total,
            states=states,
            stage_words=[stage_words(each) for each in campaign.stages],
            failures=_failures(session, campaign),
            active=_active(session, campaign),
            waits=waits(campaign, tallies, now),
            may_start=campaign.state in (stages.DRAFT, stages.SCHEDULED),
            may_pause=campaign.state == stages.RUNNING,
            may_resume=campaign.state in (stages.PAUSED, stages.STOPPED),
            may_cancel=campaign.state not in stages.ENDED,
            may_retry=total.failed > 0 and campaign.state != stages.CANCELLED,
        )


def _failures(session: Session, campaign: Campaign) -> list[dict[str, Any]]:
    """By reason, the most frequent first, each with some of its devices."""
    failed = (Member.campaign_id == campaign.id, Assignment.state == rollout.FAILED)
    reasons = session.execute(
        select(Assignment.result_code, Assignment.result_msg, func.count(),
               func.min(Member.device_id))
        .select_from(Member)
        .join(Member.assignment)
        .where(*failed)
        .group_by(Assignment.result_code, Assignment.result_msg)
        .order_by(func.count().desc(), func.min(Member.device_id))
        .limit(FAILURES)
    ).tuples().all()  # fmt: skip
    found: list[dict[str, Any]] = [
        {"code": code, "message": message or "", "count": count, "devices": []}
        for code, message, count, _ in reasons
    ]
    if not found:
        return found
    number = (
        func.row_number()
        .over(partition_by=(Assignment.result_code, Assignment.result_msg),
              order_by=Member.device_id)
        .label("number")
    )  # fmt: skip
    ranked = (
        select(Member.device_id, Assignment.result_code, Assignment.result_msg, number)
        .join(Member.assignment)
        .where(*failed)
        .subquery()
    )
    rows = session.execute(
        select(Device.id, Device.product_id, Device.device_name, ranked.c.result_code,
               ranked.c.result_msg)
        .join(ranked, ranked.c.device_id == Device.id)
        .where(ranked.c.number <= SHOWN)
        .order_by(ranked.c.number)
    ).tuples()  # fmt: skip
    for device_id, product, name, code, message in rows:
        for reason in found:
            if reason["code"] == code and reason["message"] == (message or ""):
                reason["devices"].append((device_id, f"{product}/{name}"))
    return found


def _active(session: Session, campaign: Campaign) -> list[Any]:
    query = (
        select(Assignment)
        .where(Assignment.campaign_id == campaign.id, Assignment.state.in_(rollout.ACTIVE),
               Assignment.current)
        .order_by(Assignment.device_id)
        .options(joinedload(Assignment.device))
        .limit(SHOWN)
    )  # fmt: skip
    return list(session.scalars(query))


def waits(campaign: Campaign, tallies: list[stages.Tally], now: float) -> str:
    """What a campaign that runs is waiting for, in a sentence."""
    if campaign.state == stages.SCHEDULED:
        return "It starts by itself at the time below."
    if campaign.state == stages.DRAFT:
        return "Nothing goes out until it is started; who belongs to it is found then."
    if campaign.state == stages.PAUSED:
        return "No push goes out until it is resumed; downloads that run may end."
    if campaign.state == stages.STOPPED:
        return (
            f"It stopped itself: {campaign.reason}. Look at the failures, mend what is broken, "
            "then resume it: it counts afresh from there."
        )
    if campaign.state != stages.RUNNING or not tallies:
        return ""
    total = sum(tallies, stages.Tally())
    if campaign.stage >= len(tallies) - 1:
        return f"{counted(total.open, 'device')} still to end." if total.open else "Ending."
    reached = sum(tallies[: campaign.stage + 1], stages.Tally())
    if campaign.stage_good_at is not None:
        left = max(campaign.stage_good_at + campaign.soak_s - now, 0)
        from .words import span

        return f"Stage {campaign.stage + 1} is good; the next begins in {span(left)}."
    return (
        f"Stage {campaign.stage + 1}: {reached.good:,} of {reached.counted:,} are done; the next "
        f"begins at {100 * campaign.success_share:g} %."
    )


def stage_words(stage: dict[str, Any]) -> str:
    if stage.get("count") is not None:
        return counted(int(stage["count"]), "device")
    return f"{stage['percent']:g} %"


def retry(visit: Visit) -> str:
    with visit.database.reading() as session:
        number = find(session, visit.number("id")).id
    count = campaigns.retry_failed(visit.database, number, time.time(), visit.who)
    visit.setting.wake()
    return f"{counted(count, 'device')} will be tried again."


def cancel(visit: Visit) -> str:
    with visit.database.reading() as session:
        campaign = find(session, visit.number("id"))
    campaigns.cancel(visit.database, campaign.id, time.time(), visit.who)
    visit.setting.wake()
    return f"{campaign.name} is cancelled for good: no push goes out any more."


def act(visit: Visit, action: str) -> str:
    with visit.database.writing() as session:
        campaign = find(session, visit.number("id"))
        if action == "start":
            campaigns.start(session, campaign, time.time(), visit.who)
            words = f"{campaign.name} has begun."
        elif action == "pause":
            campaigns.pause(session, campaign, visit.who)
            words = f"{campaign.name} is paused: no push goes out until it is resumed."
        else:
            campaigns.resume(session, campaign, visit.who)
            words = f"{campaign.name} goes on."
    visit.setting.wake()
    return words


# -- a new one ------------------------------------------------------------------------------------

DEFAULTS = {
    "name": "",
    "firmware": "",
    "query": "",
    "stages": "1, 10 %, 100 %",
    "success": "95",
    "soak": "10 min",
    "stop": "10",
    "least": "10",
    "timeout": "1 d",
    "at_once": "",
    "per_minute": "",
    "only_outdated": "on",
    "start": "now",
    "start_at": "",
}


def new(visit: Visit) -> Response:
    given = {name: visit.asked(name, default) for name, default in DEFAULTS.items()}
    return _form(visit, given, "")


def create(visit: Visit) -> Response:
    given = {name: visit.said(name) for name in DEFAULTS}
    if visit.said("look"):
        return _form(visit, given, "")
    try:
        order = read({**given, "name": given["name"] or _named(visit, given["firmware"])})
        with visit.database.writing() as session:
            campaign = api_campaigns.create(session, order, visit.who)
            number, words = campaign.id, f"{campaign.name} is made."
            if campaign.state == stages.RUNNING:
                words = f"{campaign.name} has begun."
    except ValueError as error:  # ours are all of that kind, and so is a ValidationError
        return _form(visit, given, refusal(error), 422)
    visit.setting.wake()
    return visit.go(f"/campaigns/{number}", words)


def _form(visit: Visit, given: dict[str, str], problem: str, status: int = 200) -> Response:
    now = time.time()
    with visit.database.reading() as session:
        try:
            _terms(given["query"])
            found = looking.devices(session, Wanted(given["query"], sort="name"), now)
        except UserError as error:
            found = looking.Found([], 0, 1, 1, str(error))
        whole = select(Firmware).where(Firmware.whole_id.is_(None))
        firmware = session.scalars(whole.order_by(Firmware.id.desc()).limit(200)).all()
        groups = session.scalars(select(Group).order_by(Group.name)).all()
        return visit.show(
            "campaign_new.html",
            status,
            given=given,
            problem_here=problem or sentence(found.problem) if problem or found.problem else "",
            matching=found.total,
            some=found.devices[:PREVIEW],
            firmware=sorted(firmware, key=lambda each: key(each.version), reverse=True),
            groups=groups,
        )


def _named(visit: Visit, number: str) -> str:
    """A campaign that nobody has named is called as its firmware."""
    with visit.database.reading() as session:
        found = session.get(Firmware, int(number)) if number.isdigit() else None
        return f"{found.application or ''} {found.version}".strip() if found else number


def read(given: dict[str, str]) -> CampaignIn:
    """The form as the API's own order. Raises UserError, ValidationError."""
    if not given["firmware"].isdigit():
        raise UserError("choose a firmware")
    return CampaignIn(
        name=given["name"],
        firmware_id=int(given["firmware"]),
        query=_terms(given["query"]),
        stages=_stages(given["stages"]),
        success_share=_share(given["success"], "success") or 0.0,
        soak_s=_span(given["soak"], "soak time") or 0.0,
        stop_share=_share(given["stop"], "stop share"),
        stop_least=_whole(given["least"], "least sample") or 1,
        timeout_s=_span(given["timeout"], "time-out"),
        active_most=_whole(given["at_once"], "downloads at once"),
        starts_per_min=_whole(given["per_minute"], "starts a minute"),
        only_outdated=bool(given["only_outdated"]),
        draft=given["start"] == "draft",
        start_at=_time(given["start_at"]) if given["start"] == "at" else None,
    )


def _terms(text: str) -> str:
    """Names without `name:`, as the fleet's search takes them, are not what a campaign takes."""
    from ..query import parse

    try:
        parse(text)
    except QueryError as error:
        raise UserError(str(error)) from None
    return text


def _stages(text: str) -> list[StageIn]:
    found = []
    for part in filter(None, (each.strip() for each in re.split(r"[,;]", text))):
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?(%?)", part)
        if match is None or (not match[2] and "." in match[1]):
            raise UserError(f"{part!r} is no stage: write them like 1, 10 %, 100 %")
        value = float(match[1])
        found.append(StageIn(percent=value) if match[2] else StageIn(count=int(value)))
    return found


def _share(text: str, what: str) -> float | None:
    if not text:
        return None
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?%?", text)
    if match is None or float(match[1]) > 100:
        raise UserError(f"{what}: a number of per cent from 0 to 100, not {text!r}")
    return float(match[1]) / 100


def _span(text: str, what: str) -> float | None:
    if not text or text == "0":
        return None
    match = _SPAN.fullmatch(text)
    if match is None:
        raise UserError(f"{what}: write it like 30 s, 10 min, 2 h or 1 d, not {text!r}")
    return float(match[1]) * _UNITS[match[2]]


def _whole(text: str, what: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text)):
        raise UserError(f"{what}: a whole number above 0, not {text!r}")
    return int(text)


def _time(text: str) -> float:
    """As a browser's field gives it, in UTC."""
    try:
        at = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise UserError("start: choose a date and a time") from None
    return at.replace(tzinfo=datetime.timezone.utc).timestamp()
