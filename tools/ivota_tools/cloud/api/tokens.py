"""The HTTP API of tokens."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from sqlalchemy import select

from ..accounts.authorization import Guard
from ..accounts.tokens import create_token, remove_token
from ..store.database import Database
from ..store.models import Token
from .access_schemas import NewTokenOut, TokenIn, TokenOut
from .route_parameters import ERRORS, After, Number, Page
from .row_lookup import existing, rows_after


def routes(database: Database, *, may: Guard, may_admin: Guard) -> APIRouter:
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses=ERRORS)

    @router.get("/tokens")
    def get_tokens(
        after: After = 0, limit: Page = 1000, who: str = Depends(may_admin)
    ) -> list[TokenOut]:
        """List the tokens; `after` is the last id of the previous page."""
        with database.reading() as session:
            found = rows_after(session, select(Token), Token.id, after, limit)
            return [TokenOut.model_validate(each) for each in found]

    @router.post("/tokens", status_code=201)
    def post_token(given: TokenIn, who: str = Depends(may_admin)) -> NewTokenOut:
        """Create a token. The first must be an admin's: afterwards every request needs a token."""
        with database.writing() as session:
            token, word = create_token(session, given.name, given.role, who)
            shown = TokenOut.model_validate(token)
        return NewTokenOut(**shown.model_dump(), token=word)

    @router.delete("/tokens/{token_id}", status_code=204)
    def delete_token(token_id: Number, who: str = Depends(may_admin)) -> None:
        with database.writing() as session:
            remove_token(session, existing(session, Token, token_id, "token"), who)

    return router
