"""Groups: named queries that campaigns can use."""

from __future__ import annotations

import time

from pydantic import ValidationError
from sqlalchemy import func, select
from starlette.responses import Response
from starlette.routing import BaseRoute

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
    return _page(visit, visit.asked("name"), visit.asked("query"))


def _page(visit: Visit, name: str, query: str, problem: str = "", status: int = 200) -> Response:
    """Render the page; `name` and `query` fill the form."""
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
            given={"name": name, "query": query},
            matching=matching,
            problem=problem,
        )


def put(visit: Visit) -> Response:
    """Create a group, or replace the query of the group with that name."""
    name, query = visit.said("name"), visit.said("query")
    if visit.said("look"):
        return _page(visit, name, query)
    try:
        with visit.database.writing() as session:
            group = api_groups.put(session, GroupIn(name=name, query=query), visit.who)
            words = f"{group.name} was saved. Campaigns that have already started do not change."
    except (ValidationError, QueryError) as error:
        return _page(visit, name, query, refusal(error), 422)
    return visit.go(HERE, words)


def remove(visit: Visit) -> str:
    with visit.database.writing() as session:
        group = row(session, Group, visit.number("id"))
        if group is None:
            raise UserError("the group was already deleted", 404)
        api_groups.remove(session, group, visit.who)
        return f"{group.name} was deleted. Its devices and started campaigns are not affected."
