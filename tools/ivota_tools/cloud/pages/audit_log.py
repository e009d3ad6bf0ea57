"""The audit log: who changed what."""

from __future__ import annotations

from sqlalchemy import select
from starlette.responses import Response
from starlette.routing import BaseRoute

from ..store.models import Audit
from .page_guard import route
from .page_visit import Setting, Visit
from .pagination import Order

PAGE = 50


def routes(setting: Setting) -> list[BaseRoute]:
    return [route(setting, "/audit", audit)]


def audit(visit: Visit) -> Response:
    who, text = visit.asked("who", most=128), visit.asked("q", most=128)
    query = select(Audit)
    if who:
        query = query.where(Audit.who == who)
    if text:
        words = Audit.action + " " + Audit.subject + " " + Audit.detail
        query = query.where(words.icontains(text, autoescape=True))
    with visit.database.reading() as session:
        page = visit.page(session, query, Order([Audit.id], descending=True), PAGE)
        people = session.scalars(select(Audit.who).distinct().order_by(Audit.who).limit(200))
        return visit.show(
            "audit.html",
            lines=page.rows,
            people=people.all(),
            who=who,
            text=text,
            page=page,
        )
