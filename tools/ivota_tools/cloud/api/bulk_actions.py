"""The HTTP API for an action on all devices that match a query."""

from __future__ import annotations

import time

from fastapi import APIRouter, Depends

from ..accounts.authorization import Guard
from ..rollout import bulk_actions, device_query
from ..store.database import Database
from .bulk_schemas import ActionIn, CountOut, PartOut
from .field_types import QueryText
from .route_parameters import ERRORS


def routes(database: Database, *, may: Guard) -> APIRouter:
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses=ERRORS)

    @router.get("/query/count")
    def get_count(text: QueryText) -> CountOut:
        """Count the accepted devices that match a query; an empty query is an error here."""
        device_query.expect_words(text)
        with database.reading() as session:
            return CountOut(devices=device_query.count(session, text, time.time()))

    @router.post("/query/action")
    def post_action(given: ActionIn, who: str = Depends(may)) -> PartOut:
        """Act on the devices that match a query, in parts of at most 500 by id.

        While the response has `more`, repeat the request with its `after` and `entry`, so that
        the audit log has one entry for all parts. `expected` is the number of devices that
        somebody has confirmed; the cloud refuses the action if another number matches. A device
        that is already as ordered does not change and does not count, so a request that was
        interrupted can be repeated.
        """
        order = bulk_actions.Order(
            given.query,
            given.action,
            given.add,
            given.remove,
            given.application,
            given.hardware,
        )
        part = bulk_actions.do_part(
            database,
            order,
            who,
            after=given.after,
            entry=given.entry,
            expected=given.expected,
            most=given.limit,
        )
        return PartOut.model_validate(part)

    return router
