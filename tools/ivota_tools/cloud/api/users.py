"""The HTTP API of console users."""

from __future__ import annotations

import time

from fastapi import APIRouter, Depends, HTTPException
from sqlalchemy import select
from sqlalchemy.orm import Session

from ..accounts import second_factor, users
from ..accounts.authorization import Guard
from ..accounts.roles import ADMIN
from ..store.database import Database
from ..store.models import User
from .access_schemas import UserChange, UserIn, UserOut
from .route_parameters import ERRORS, After, Number, Page
from .row_lookup import existing, rows_after


def routes(database: Database, *, may_admin: Guard) -> APIRouter:
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may_admin)], responses=ERRORS)

    @router.get("/users")
    def get_users(after: After = 0, limit: Page = 1000) -> list[UserOut]:
        """List the users; `after` is the last id of the previous page."""
        with database.reading() as session:
            found = rows_after(session, select(User), User.id, after, limit)
            return [UserOut.model_validate(each) for each in found]

    @router.post("/users", status_code=201)
    def post_user(given: UserIn, who: str = Depends(may_admin)) -> UserOut:
        """Create a user. After the first user, every request needs a token or a sign-in."""
        with database.writing() as session:
            if given.role != ADMIN and not users.any_user(session):
                raise HTTPException(
                    409,
                    "the first user must be an admin (--role admin): afterwards everyone must "
                    "sign in, and only an admin can create more users",
                )
            user = users.create(session, given.name, given.password, given.role, time.time(), who)
            return UserOut.model_validate(user)

    @router.put("/users/{user_id}")
    def put_user(user_id: Number, given: UserChange, who: str = Depends(may_admin)) -> UserOut:
        """Change a user. A new password also signs the user out everywhere."""
        with database.writing() as session:
            user = _user(session, user_id)
            if given.role is not None:
                users.set_role(session, user, given.role, who)
            if given.password is not None:
                users.set_password(session, user, given.password, who)
            if given.second_factor is not None:
                second_factor.disable(session, user, who)
            return UserOut.model_validate(user)

    @router.delete("/users/{user_id}", status_code=204)
    def delete_user(user_id: Number, who: str = Depends(may_admin)) -> None:
        with database.writing() as session:
            users.remove(session, _user(session, user_id), who)

    return router


def _user(session: Session, user_id: int) -> User:
    return existing(session, User, user_id, "user")
