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
        """List the ids of the devices that match a query and to which an action applies, in
        order; `after` is the last id of the previous page. The action accept applies to pending
        devices, and every other action to accepted devices: retry only to devices whose update
        has failed or will be retried, cancel only to devices whose update has not ended.
        """
        with database.reading() as session:
            return bulk_actions.ids(session, text, action, after, limit)

    @router.post("/query/action")
    def post_action(given: ActionIn, who: str = Depends(may)) -> PartOut:
        """Act on at most 500 devices, if they match a query and the action applies to them.

        First list the ids of all devices; then send them in parts. Add the `entry` of the
        previous response to each part, so that the audit log has one entry for all of them. The
        cloud skips a device that no longer matches, that already has the requested state, or
        that is already being updated to the firmware. You can therefore repeat a request that
        was interrupted.
        """
        order = given.model_dump(exclude={"devices", "entry"})
        part = bulk_actions.do_part(
            database, bulk_actions.Order(**order), given.devices, who, given.entry
        )
        wake()
        return PartOut.model_validate(part)

    return router
