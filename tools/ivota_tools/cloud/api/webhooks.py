"""The HTTP API of webhook messages: which ones wait or were given up, a test, and another try."""

from __future__ import annotations

from fastapi import APIRouter, Depends, HTTPException
from sqlalchemy import select

from ..accounts import audit_log
from ..accounts.authorization import Guard
from ..store.database import Database
from ..store.models import WebhookMessage
from ..webhooks import outbox
from ..webhooks.sender import retry_dead
from ..webhooks.targets import Webhooks
from .route_parameters import ERRORS, ID_MOST, After, Page
from .webhook_schemas import CountOut, WebhookMessageOut


def routes(database: Database, webhooks: Webhooks, *, may: Guard, may_admin: Guard) -> APIRouter:
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses=ERRORS)

    @router.get("/webhooks/messages")
    def get_messages(after: After = 0, limit: Page = 1000) -> list[WebhookMessageOut]:
        """List the messages that wait or were given up; `after` is the last id of the previous
        page.
        """
        with database.reading() as session:
            query = select(WebhookMessage).where(WebhookMessage.id > min(after, ID_MOST))
            found = session.scalars(query.order_by(WebhookMessage.id).limit(limit))
            return [WebhookMessageOut.model_validate(each) for each in found]

    @router.post("/webhooks/test")
    def post_test(who: str = Depends(may_admin)) -> CountOut:
        """Send a test message to each webhook."""
        if not webhooks.targets:
            raise HTTPException(409, "the cloud has no webhook: start it with --webhook")
        with database.writing() as session:
            outbox.note(session, webhooks, outbox.TEST, {"by": who})
            audit_log.note(session, who, "webhook test", str(len(webhooks.targets)))
        return CountOut(count=len(webhooks.targets))

    @router.post("/webhooks/retry")
    def post_retry(who: str = Depends(may_admin)) -> CountOut:
        """Send all messages again that were given up."""
        with database.writing() as session:
            count = retry_dead(session)
            audit_log.note(session, who, "webhook retry", str(count))
        return CountOut(count=count)

    return router
