"""Groups: named queries that campaigns can use."""

from __future__ import annotations

import time
from typing import Literal

from pydantic import ValidationError
from sqlalchemy import func, select
from starlette.responses import Response
from starlette.routing import BaseRoute

from ...common.durations import seconds, short
from ..accounts.roles import OPERATOR
from ..accounts.users import UserError
from ..api import groups as api_groups
from ..api.group_schemas import GroupIn
from ..rollout import device_query
from ..rollout.device_query import QueryError
from ..store.models import Group
from .formatting import refusal, sentence
from .page_guard import acting, route
from .page_visit import Setting, Visit
from .pagination import Order, row

HERE = "/campaigns/groups"
PAGE = 25  # every request counts the devices of each group shown


def routes(setting: Setting) -> list[BaseRoute]:
    return [
        route(setting, HERE, groups),
        route(setting, HERE, put, method="POST", needed=OPERATOR),
        route(setting, HERE + "/{id:int}/remove", acting(HERE, remove), method="POST",
              needed=OPERATOR),
    ]  # fmt: skip


def groups(visit: Visit) -> Response:
    return _page(visit, visit.asked("name"), visit.asked("query"), visit.asked("interval"))


def _page(
    visit: Visit, name: str, query: str, interval: str, problem: str = "", status: int = 200
) -> Response:
    """Render the page; `name`, `query` and `interval` fill the form."""
    now = time.time()
    with visit.database.reading() as session:
        matching: int | None = None
        if query and not problem:
            try:
                matching = device_query.count(session, query, now)
            except QueryError as error:
                problem = sentence(str(error))
        count = session.scalar(select(func.count()).select_from(Group))
        page = visit.page(session, select(Group), Order([Group.name]), PAGE, count)
        return visit.show(
            "groups.html",
            status,
            groups=[(each, device_query.count(session, each.query, now)) for each in page.rows],
            page=page,
            given={"name": name, "query": query, "interval": interval},
            short=short,
            matching=matching,
            rate=_rate(matching, interval),
            problem=problem,
        )


def put(visit: Visit) -> Response:
    """Create a group, or change the group with that name."""
    name, query, interval = visit.said("name"), visit.said("query"), visit.said("interval")
    if visit.sent("look"):
        return _page(visit, name, query, interval)
    try:
        order = GroupIn(name=name, query=query, report_interval_s=_interval(interval))
        with visit.database.writing() as session:
            group = api_groups.put(session, order, visit.who)
            words = f"{group.name} was saved. Campaigns that have already started do not change."
    except IntervalError as error:
        return _page(visit, name, query, interval, f"Report interval: {error}.", 422)
    except (ValidationError, QueryError) as error:
        return _page(visit, name, query, interval, refusal(error), 422)
    return visit.go(HERE, words)


def _rate(devices: int | None, interval: str) -> float | None:
    """Return how many reports these devices send in a second at the interval in the form."""
    try:
        every_s = _interval(interval)
    except IntervalError:
        return None
    return devices / every_s if devices and isinstance(every_s, int) and every_s else None


class IntervalError(ValueError):
    """The text in the form is no interval."""


def _interval(text: str) -> int | Literal["none"] | None:
    """Return what the form says about the interval; an empty field keeps the current one.

    Raises IntervalError.
    """
    if not text:
        return None
    if text == "none":
        return "none"
    try:
        return round(seconds(text))
    except ValueError as error:
        raise IntervalError(str(error)) from None


def remove(visit: Visit) -> str:
    with visit.database.writing() as session:
        group = row(session, Group, visit.number("id"))
        if group is None:
            raise UserError("the group was already deleted", 404)
        api_groups.remove(session, group, visit.who)
        return f"{group.name} was deleted. Its devices and started campaigns are not affected."
