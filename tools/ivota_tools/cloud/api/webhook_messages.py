"""The HTTP API of webhook messages: list the undelivered ones, resend them, and send a test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from fastapi import APIRouter, Depends, HTTPException
from sqlalchemy import select

from ..accounts.authorization import Guard
from ..store.database import Database
from ..store.models import WebhookMessage
from ..webhooks import delivery_actions
from ..webhooks.webhook_settings import Webhooks
from .route_parameters import ERRORS, After, Number, Page
from .row_lookup import rows_after
from .webhook_schemas import CountOut, WebhookMessageOut, WebhookTestOut


def routes(database: Database, webhooks: Webhooks, *, may: Guard, may_admin: Guard) -> APIRouter:
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses=ERRORS)

    @router.get("/webhooks/messages")
    def get_messages(after: After = 0, limit: Page = 1000) -> list[WebhookMessageOut]:
        """List the messages that are waiting or that the cloud has given up on; `after` is the
        last id of the previous page.
        """
        with database.reading() as session:
            found = rows_after(session, select(WebhookMessage), WebhookMessage.id, after, limit)
            return [WebhookMessageOut.model_validate(each) for each in found]

    @router.post("/webhooks/test")
    def post_test(who: str = Depends(may_admin)) -> list[WebhookTestOut]:
        """Send a test message to each webhook once, immediately; return the results."""
        with refusing():
            found = delivery_actions.test(database, webhooks, who)
        return [WebhookTestOut(host=host, problem=problem) for host, problem in found]

    @router.post("/webhooks/retry")
    def post_retry(who: str = Depends(may_admin)) -> CountOut:
        """Resend all messages that the cloud has given up on."""
        return CountOut(count=delivery_actions.retry(database, webhooks, who))

    @router.post("/webhooks/messages/{message_id}/retry")
    def post_retry_one(message_id: Number, who: str = Depends(may_admin)) -> CountOut:
        """Resend a message that the cloud has given up on."""
        with refusing():
            return CountOut(count=delivery_actions.retry(database, webhooks, who, message_id))

    return router


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    try:
        yield
    except delivery_actions.WebhookError as error:
        raise HTTPException(409, str(error)) from None
