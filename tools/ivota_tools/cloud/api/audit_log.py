"""The HTTP API of the audit log."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from sqlalchemy import select

from ..accounts.authorization import Guard
from ..store.database import Database
from ..store.models import Audit
from .access_schemas import AuditOut
from .route_parameters import ERRORS, After, Page
from .row_lookup import rows_after


def routes(database: Database, *, may: Guard) -> APIRouter:
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses=ERRORS)

    @router.get("/audit")
    def get_audit(after: After = 0, limit: Page = 1000) -> list[AuditOut]:
        """List the audit log, oldest entry first; `after` is the last id of the previous page."""
        with database.reading() as session:
            rows = rows_after(session, select(Audit), Audit.id, after, limit)
            return [AuditOut.model_validate(each) for each in rows]

    return router
