"""The form of a new campaign, with the devices that it would reach and any errors."""

from __future__ import annotations

import time

from sqlalchemy import select
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from ..accounts.roles import OPERATOR
from ..accounts.users import UserError
from ..api import campaigns
from ..api.campaign_schemas import CampaignIn, PlanOut
from ..rollout import campaign_rules
from ..rollout.campaign_actions import CampaignError
from ..store.models import Campaign, Firmware, Group
from . import fleet_queries
from .campaign_form import BOXES, DEFAULTS, read, terms
from .firmware import uploaded
from .fleet_queries import Wanted
from .formatting import refusal, sentence
from .page_guard import route
from .page_visit import Setting, Visit, whole
from .pagination import row

PREVIEW = 5


def routes(setting: Setting) -> list[BaseRoute]:
    return [
        route(setting, "/campaigns/new", new, needed=OPERATOR),
        route(setting, "/campaigns/new", create, method="POST", needed=OPERATOR),
    ]


def new(visit: Visit) -> Response:
    # Not cut off: a query is narrower than its beginning.
    given = {name: visit.asked(name, default, 65536) for name, default in DEFAULTS.items()}
    return _form(visit, given)


def create(visit: Visit) -> Response:
    """Show the plan first; create the campaign if the second submission has the same plan."""
    given = {name: visit.sent(name) if name in BOXES else visit.said(name) for name in DEFAULTS}
    try:
        order = read({**given, "name": given["name"] or _named(visit, given["firmware"])})
        if visit.sent("look") or not visit.sent("plan"):
            return _reviewed(visit, given, order)
        order.plan = visit.sent("plan", 64)
        number = campaigns.create(visit.database, order, visit.who)
        with visit.database.reading() as session:
            campaign = session.get_one(Campaign, number)
        words = f"{campaign.name} was created."
        if campaign.state == campaign_rules.RUNNING:
            words = f"{campaign.name} started."
    except CampaignError as error:
        return _reviewed(visit, given, order, refusal(error))
    except HTTPException as error:
        return _form(visit, given, sentence(str(error.detail)), error.status_code)
    except ValueError as error:  # all our errors are of this kind, and so is ValidationError
        return _form(visit, given, refusal(error), 422)
    visit.setting.wake()
    return visit.go(f"/campaigns/{number}", words)


def _reviewed(
    visit: Visit, given: dict[str, str], order: CampaignIn, problem: str = ""
) -> Response:
    with visit.database.reading() as session, session.no_autoflush:
        plan = campaigns.plan_out(*campaigns.plan_of(session, order))
    return _form(visit, given, problem, 409 if problem else 200, plan)


def _form(
    visit: Visit,
    given: dict[str, str],
    problem: str = "",
    status: int = 200,
    plan: PlanOut | None = None,
) -> Response:
    now = time.time()
    with visit.database.reading() as session:
        try:
            wanted = Wanted(terms(given["query"]), sort="name")
            found = fleet_queries.devices(session, wanted, now)
            matching, some = found.page.count, found.devices[:PREVIEW]
        except UserError as error:
            problem = problem or sentence(str(error))
            matching, some = 0, []
        groups = session.scalars(select(Group).order_by(Group.name)).all()
        return visit.show(
            "campaign_new.html",
            status,
            given=given,
            problem=problem,
            plan=plan,
            matching=matching,
            some=some,
            firmware=uploaded(session),
            groups=groups,
        )


def _named(visit: Visit, number: str) -> str:
    """Name a campaign after its firmware if its name is empty."""
    with visit.database.reading() as session:
        found = row(session, Firmware, whole(number))
        return f"{found.application or ''} {found.version}".strip() if found else number
