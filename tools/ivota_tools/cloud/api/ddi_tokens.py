"""The HTTP API of the tokens with which devices poll by DDI."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from sqlalchemy import select

from ..accounts.authorization import Guard
from ..ddi import device_tokens
from ..store.database import Database
from ..store.models import DdiToken
from .access_schemas import DdiTokenIn, DdiTokenOut, NewDdiTokenOut
from .device_lookup import find_device
from .route_parameters import ERRORS, After, Number, Page
from .row_lookup import existing, rows_after


def routes(database: Database, *, may: Guard) -> APIRouter:
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses=ERRORS)

    @router.get("/ddi-tokens")
    def get_ddi_tokens(after: After = 0, limit: Page = 1000) -> list[DdiTokenOut]:
        """List the DDI tokens; `after` is the last id of the previous page."""
        with database.reading() as session:
            found = rows_after(session, select(DdiToken), DdiToken.id, after, limit)
            return [_shown(each) for each in found]

    @router.post("/ddi-tokens", status_code=201)
    def post_ddi_token(given: DdiTokenIn, who: str = Depends(may)) -> NewDdiTokenOut:
        """Create a DDI token for a gateway, or for a device, which is added if it is unknown."""
        with database.writing() as session:
            device = None
            if given.device is not None:
                device = find_device(session, given.device, new=True)
            token, word = device_tokens.create(session, given.name, device, who)
            shown = _shown(token)
        return NewDdiTokenOut(**shown.model_dump(), token=word)

    @router.delete("/ddi-tokens/{token_id}", status_code=204)
    def delete_ddi_token(token_id: Number, who: str = Depends(may)) -> None:
        with database.writing() as session:
            token = existing(session, DdiToken, token_id, "DDI token")
            device_tokens.remove(session, token, who)

    return router


def _shown(token: DdiToken) -> DdiTokenOut:
    device = token.device.name if token.device else None
    return DdiTokenOut(id=token.id, name=token.name, device=device, created_at=token.created_at)
