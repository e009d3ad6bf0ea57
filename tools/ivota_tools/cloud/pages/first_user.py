"""Create the console's first user, for the person who opens the link that `ivota cloud` prints."""

from __future__ import annotations

import hmac
import time

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from ..accounts import users
from ..accounts.roles import ADMIN
from ..accounts.users import UserError
from .formatting import sentence
from .page_guard import route
from .page_visit import Setting, Visit
from .sign_in import enter


def routes(setting: Setting) -> list[BaseRoute]:
    return [
        route(setting, "/set-up", no_key, needed=None),
        route(setting, "/set-up/{key}", set_up, needed=None),
        route(setting, "/set-up/{key}", make_first, method="POST", needed=None, hashes=True),
    ]


def no_key(visit: Visit) -> Response:
    with visit.database.reading() as session:
        if users.any_user(session):
            return visit.go("/sign-in")
    return visit.show("set_up_wait.html")


def set_up(visit: Visit) -> Response:
    _expect(visit)
    return visit.show("set_up.html", name="", problem="")


def make_first(visit: Visit) -> Response:
    name, password = visit.said("name", 256), visit.raw("password")
    _expect(visit)
    try:
        if password != visit.raw("again"):
            raise UserError("the passwords do not match")
        with visit.database.writing() as session:
            if users.any_user(session):  # two people with the same link
                raise HTTPException(404, "This console is already set up.")
            user = users.create(session, name, password, ADMIN, time.time(), "setup link")
    except UserError as error:
        problem = sentence(str(error))
        return visit.show("set_up.html", 422, name=name, problem=problem)
    return enter(visit, user, "/", f"Welcome, {user.name}. Your console is ready.")


def _expect(visit: Visit) -> None:
    """Check the link, which is valid only while there is no user."""
    given = visit.request.path_params["key"].encode(errors="replace")
    right = hmac.compare_digest(given, visit.setting.set_up_key().encode())
    with visit.database.reading() as session:
        if not right or users.any_user(session):
            raise HTTPException(
                404, "This setup link is invalid or was already used. “ivota cloud” prints a "
                "valid link when it starts, as long as no user exists.",
            )  # fmt: skip
