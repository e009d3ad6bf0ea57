"""The actions that an operator can take on a campaign."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.routing import BaseRoute

from ..accounts.roles import OPERATOR
from ..api import campaigns
from ..rollout import campaign_actions, campaign_removal
from .campaigns import find
from .formatting import counted
from .page_guard import acting, route
from .page_visit import Setting, Visit


def routes(setting: Setting) -> list[BaseRoute]:
    def post(action: str, act: Callable[[Visit], str]) -> BaseRoute:
        path, handler = f"/campaigns/{{id:int}}/{action}", acting("/campaigns/{id}", act)
        return route(setting, path, handler, method="POST", needed=OPERATOR)

    return [
        post("start", start),
        post("pause", pause),
        post("resume", resume),
        post("retry", retry),
        post("cancel", cancel),
        route(
            setting,
            "/campaigns/{id:int}/delete",
            acting("/campaigns", delete),
            method="POST",
            needed=OPERATOR,
        ),
    ]


def start(visit: Visit) -> str:
    """Start the campaign with the plan that its page has shown."""
    with visit.database.reading() as session:
        campaign = find(session, visit.number("id"))
    campaigns.start(visit.database, campaign.id, visit.who, visit.said("plan", 64))
    visit.setting.wake()
    return f"{campaign.name} started."


def pause(visit: Visit) -> str:
    with visit.database.writing() as session:
        campaign = find(session, visit.number("id"))
        campaign_actions.pause(session, campaign, visit.who)
        return f"{campaign.name} is paused. The cloud pushes nothing until you resume it."


def resume(visit: Visit) -> str:
    with visit.database.writing() as session:
        campaign = find(session, visit.number("id"))
        campaign_actions.resume(session, campaign, visit.who)
        words = f"{campaign.name} resumed."
    visit.setting.wake()
    return words


def retry(visit: Visit) -> str:
    """Retry in separate transactions, as `cancel` does: there may be thousands of devices."""
    with visit.database.reading() as session:
        campaign = find(session, visit.number("id"))
    count = campaign_actions.retry_failed(visit.database, campaign.id, time.time(), visit.who)
    visit.setting.wake()
    return f"Retrying {counted(count, 'device')}."


def cancel(visit: Visit) -> str:
    with visit.database.reading() as session:
        campaign = find(session, visit.number("id"))
    campaign_actions.cancel(visit.database, campaign.id, time.time(), visit.who)
    return f"{campaign.name} is cancelled. The cloud sends no more pushes."


def delete(visit: Visit) -> str:
    with visit.database.reading() as session:
        campaign = find(session, visit.number("id"))
    name = campaign_removal.delete_campaign(visit.database, campaign.id, visit.who)
    return f"{name} was deleted."
