"""The audit log: who changed what."""

from __future__ import annotations

from sqlalchemy import func, select
from starlette.responses import Response
from starlette.routing import BaseRoute

from ..models import Audit
from .frame import Setting, Visit, route

PAGE = 50


def routes(setting: Setting) -> list[BaseRoute]:
    return [route(setting, "/audit", audit)]


def audit(visit: Visit) -> Response:
    who, text = visit.asked("who", most=128), visit.asked("q", most=128)
    query = select(Audit)
    if who:
        query = query.where(Audit.who == who)
    if text:
        part = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        words = Audit.action + " " + Audit.subject + " " + Audit.detail
        query = query.where(words.ilike(f"%{part}%", escape="\\"))
    with visit.database.reading() as session:
        count = session.scalar(query.with_only_columns(func.count(Audit.id))) or 0
        pages = max(-(-count // PAGE), 1)
        page = min(visit.page(), pages)
        rows = session.scalars(
            query.order_by(Audit.id.desc()).limit(PAGE).offset((page - 1) * PAGE)
        )
        people = session.scalars(select(Audit.who).distinct().order_by(Audit.who).limit(200))
        return visit.show(
            "audit.html",
            lines=rows.all(),
            people=people.all(),
            who=who,
            text=text,
            count=count,
            page=page,
            pages=pages,
        )
