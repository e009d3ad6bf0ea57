"""The second factor of the user's own account: set it up, and turn it off."""

from __future__ import annotations

import time

from starlette.responses import Response
from starlette.routing import BaseRoute

from ..accounts import second_factor
from ..accounts.roles import VIEWER
from ..accounts.users import UserError
from .formatting import sentence
from .own_account import expect_password
from .page_guard import REFUSALS, acting, route
from .page_visit import Setting, Visit

PATH = "/account/second-factor"


def routes(setting: Setting) -> list[BaseRoute]:
    return [
        route(setting, PATH, ask, needed=VIEWER),
        route(setting, PATH, enable, method="POST", needed=VIEWER, hashes=True),
        route(setting, PATH + "/off", acting("/account", disable), method="POST",
              needed=VIEWER, hashes=True),
    ]  # fmt: skip


def ask(visit: Visit) -> Response:
    """Show a new secret, and ask for the first code."""
    assert visit.signed
    if visit.signed.sign_in.user.by_provider or visit.signed.sign_in.user.second_factor:
        return visit.go("/account")
    return _form(visit, 200, second_factor.new_secret())


def _form(visit: Visit, status: int, secret: str, problem: str = "") -> Response:
    return visit.show(
        "second_factor.html",
        status,
        secret=secret,
        picture=second_factor.picture(visit.who, secret),
        problem=problem,
        codes=(),
    )


def enable(visit: Visit) -> Response:
    """Turn the second factor on; show the recovery codes, only once."""
    assert visit.signed
    secret = visit.said("secret")
    if not second_factor.SECRET.fullmatch(secret):
        secret = second_factor.new_secret()
    try:
        if visit.signed.sign_in.user.by_provider:
            raise UserError("the identity provider manages your second factor", 409)
        user = expect_password(visit, visit.raw("password"))
        if user.second_factor:
            raise UserError("you already have a second factor", 409)
        with visit.database.writing() as session:
            user = session.merge(user)
            codes = second_factor.enable(session, user, secret, visit.said("code"), time.time())
    except REFUSALS as error:
        return _form(visit, 422, secret, sentence(str(error)))
    return visit.show("second_factor.html", 200, codes=codes, secret="", picture="", problem="")


def disable(visit: Visit) -> str:
    user = expect_password(visit, visit.raw("password"))
    with visit.database.writing() as session:
        second_factor.disable(session, session.merge(user), visit.who)
    return "The second factor is off."
