"""The HTTP API for an action on many devices that match a query."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import APIRouter, Depends

from ..accounts.authorization import Guard
from ..rollout import bulk_actions
from ..store.database import Database
from .bulk_schemas import Action, ActionIn, PartOut
from .field_types import QueryText
from .route_parameters import ERRORS, PAGE_MOST, After, Page


def routes(database: Database, *, wake: Callable[[], None], may: Guard) -> APIRouter:
    """Create the router; `wake` is called when a push may be due."""
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses=ERRORS)

    @router.get("/query/ids")
    def get_ids(
        text: QueryText, action: Action, after: After = 0, limit: Page = PAGE_MOST
    ) -> Sequence[int]:
        """List the ids of the devices that match a query and that an action is for, in order;
        `after` is the last id of the previous page. Accept is for pending devices, all else for
        accepted ones: retry for those whose update has failed or will be retried, cancel for
        those whose update has not ended.
        """
        with database.reading() as session:
            return bulk_actions.ids(session, text, action, after, limit)

    @router.post("/query/action")
    def post_action(given: ActionIn, who: str = Depends(may)) -> PartOut:
        """Act on those of at most 500 devices that match a query and that the action is for.

        First list the ids of all devices; then send them in parts. Add the `entry` of the
        previous response to each part, so that the audit log has one entry for all of them. A
        device is skipped if it no longer matches, is already as ordered, or is already on the
        way to the firmware. So a request that was interrupted can be repeated.
        """
        order = given.model_dump(exclude={"devices", "entry"})
        part = bulk_actions.do_part(
            database, bulk_actions.Order(**order), given.devices, who, given.entry
        )
        wake()
        return PartOut.model_validate(part)

    return router
