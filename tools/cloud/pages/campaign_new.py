"""The form of a new campaign: what it would reach, and what is wrong with it."""

from __future__ import annotations

import datetime
import re
import time

from sqlalchemy import select
from starlette.responses import Response
from starlette.routing import BaseRoute

from ...spans import seconds
from .. import api_campaigns, stages
from ..models import Firmware, Group
from ..query import QueryError, parse
from ..roles import OPERATOR
from ..schemas_fleet import CampaignIn, StageIn
from ..users import UserError
from ..versions import key
from . import looking
from .frame import Setting, Visit, refusal, route, row, sentence, whole
from .looking import Wanted

PREVIEW = 5

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


def routes(setting: Setting) -> list[BaseRoute]:
    return [
        route(setting, "/campaigns/new", new, needed=OPERATOR),
        route(setting, "/campaigns/new", create, method="POST", needed=OPERATOR),
    ]


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
        found = row(session, Firmware, whole(number))
        return f"{found.application or ''} {found.version}".strip() if found else number


def read(given: dict[str, str]) -> CampaignIn:
    """The form as the API's own order. Raises UserError, ValidationError."""
    firmware_id = whole(given["firmware"])
    if not firmware_id:
        raise UserError("choose a firmware")
    return CampaignIn(
        name=given["name"],
        firmware_id=firmware_id,
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
        found.append(
            StageIn(percent=float(match[1])) if match[2] else StageIn(count=int(match[1]))
        )
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
    try:
        return seconds(re.sub(r" (?=[a-z])", "", text))
    except ValueError:
        raise UserError(f"{what}: write it like 30 s, 10 min, 2 h or 1 d, not {text!r}") from None


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
