"""Users and tokens, for admins."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from ...common.api_connection import default_data
from ..accounts import roles, second_factor, tokens, users
from ..accounts.roles import ADMIN
from ..accounts.users import UserError
from ..store.models import Token, User
from .formatting import sentence
from .page_guard import REFUSALS, acting, route
from .page_visit import Setting, Visit
from .pagination import row

TOKENS_MOST = 1000


def routes(setting: Setting) -> list[BaseRoute]:
    def post(path: str, act: Callable[[Visit], str], hashes: bool = False) -> BaseRoute:
        handler = acting("/people", act)
        return route(setting, path, handler, method="POST", needed=ADMIN, hashes=hashes)

    return [
        route(setting, "/people", people, needed=ADMIN),
        post("/people/users", add_user, hashes=True),
        post("/people/users/{id:int}/role", change_role),
        post("/people/users/{id:int}/password", reset_password, hashes=True),
        post("/people/users/{id:int}/second-factor", reset_second_factor),
        post("/people/users/{id:int}/remove", remove_user),
        route(setting, "/people/tokens", add_token, method="POST", needed=ADMIN),
        post("/people/tokens/{id:int}/remove", remove_token),
    ]


def people(visit: Visit) -> Response:
    return _people(visit, 200)


def _people(visit: Visit, status: int, made: str = "", token: str = "", problem: str = ""
            ) -> Response:  # fmt: skip
    with visit.database.reading() as session:
        return visit.show(
            "people.html",
            status,
            users=session.scalars(select(User).order_by(User.name)).all(),
            tokens=session.scalars(select(Token).order_by(Token.name).limit(TOKENS_MOST)).all(),
            roles=roles.ROLES,
            means=roles.MEANS,
            made=made,
            token=token,
            problem=problem,
            local_token=str(visit.setting.local_token),
            finds_token=visit.setting.local_token.parent.absolute() == default_data().absolute(),
        )


def add_user(visit: Visit) -> str:
    with visit.database.writing() as session:
        user = users.create(session, visit.said("name", 256), visit.raw("password"),
                            visit.said("role"), time.time(), visit.who)  # fmt: skip
        return f"{user.name} can now sign in with the role {user.role}."


def _user(session: Session, number: int) -> User:
    found = row(session, User, number)
    if found is None:
        raise HTTPException(404, "This user does not exist.")
    return found


def change_role(visit: Visit) -> str:
    with visit.database.writing() as session:
        user = _user(session, visit.number("id"))
        users.set_role(session, user, visit.said("role"), visit.who)
        return f"{user.name} now has the role {user.role}: {roles.MEANS[user.role]}."


def reset_password(visit: Visit) -> str:
    with visit.database.writing() as session:
        user = _user(session, visit.number("id"))
        users.set_password(session, user, visit.raw("password"), visit.who)
        return f"{user.name} has a new password and is signed out everywhere."


def reset_second_factor(visit: Visit) -> str:
    with visit.database.writing() as session:
        user = _user(session, visit.number("id"))
        second_factor.disable(session, user, visit.who)
        return f"{user.name} can sign in without a second factor and set up a new one."


def remove_user(visit: Visit) -> str:
    with visit.database.writing() as session:
        user = _user(session, visit.number("id"))
        users.remove(session, user, visit.who)
        return f"{user.name} was removed and signed out."


def add_token(visit: Visit) -> Response:
    """Show the token, only once: a redirect would lose it."""
    name = visit.said("name", 256)
    try:
        with visit.database.writing() as session:
            _, word = tokens.create_token(session, name, visit.said("role"), visit.who)
    except REFUSALS as error:
        return _people(visit, 422, problem=sentence(str(error)))
    return _people(visit, 200, made=name, token=word)


def remove_token(visit: Visit) -> str:
    with visit.database.writing() as session:
        token = row(session, Token, visit.number("id"))
        if token is None:
            raise UserError("the token was already removed", 404)
        tokens.remove_token(session, token, visit.who)
        return f"The token {token.name} was removed and no longer works."
