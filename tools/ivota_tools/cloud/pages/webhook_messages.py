"""Webhooks: a test, and the undelivered messages."""

from __future__ import annotations

from sqlalchemy import func, select
from starlette.responses import Response
from starlette.routing import BaseRoute

from ..accounts.roles import ADMIN
from ..store.models import WebhookMessage
from ..webhooks import delivery_actions
from .formatting import counted
from .page_guard import acting, route
from .page_visit import Setting, Visit
from .pagination import Order

PAGE = 50


def routes(setting: Setting) -> list[BaseRoute]:
    again = acting("/webhooks", retry)
    return [
        route(setting, "/webhooks", webhooks, needed=ADMIN),
        route(setting, "/webhooks/test", test, method="POST", needed=ADMIN),
        route(setting, "/webhooks/retry", again, method="POST", needed=ADMIN),
        route(setting, "/webhooks/{id:int}/retry", again, method="POST", needed=ADMIN),
    ]


def webhooks(visit: Visit) -> Response:
    return _show(visit, None)


def _show(visit: Visit, tested: list[tuple[str, str | None]] | None) -> Response:
    given_up = WebhookMessage.next_at.is_(None)
    with visit.database.reading() as session:
        count = func.count(WebhookMessage.id)
        newest = Order([WebhookMessage.id], descending=True)
        number = session.scalar(select(count))
        page = visit.page(session, select(WebhookMessage), newest, PAGE, number)
        return visit.show(
            "webhooks.html",
            targets=visit.setting.webhooks.targets,
            known={target.name for target in visit.setting.webhooks.targets},
            messages=page.rows,
            given_up=session.scalar(select(count).where(given_up)) or 0,
            page=page,
            tested=tested,
        )


def test(visit: Visit) -> Response:
    """Show the results in the response, because they are not stored."""
    try:
        tested = delivery_actions.test(visit.database, visit.setting.webhooks, visit.who)
    except delivery_actions.WebhookError as error:
        return visit.go("/webhooks", str(error), True)
    return _show(visit, tested)


def retry(visit: Visit) -> str:
    only = visit.request.path_params.get("id")
    count = delivery_actions.retry(visit.database, visit.setting.webhooks, visit.who, only)
    return f"{counted(count, 'message')} will be sent again."
