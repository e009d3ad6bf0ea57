"""The user's own account: the password, and the browsers that are signed in."""

from __future__ import annotations

import time

from sqlalchemy import select
from starlette.responses import Response
from starlette.routing import BaseRoute

from ..accounts import roles, second_factor, sign_in_throttle, users
from ..accounts.roles import VIEWER
from ..accounts.users import UserError
from ..store.models import SignIn, User
from .page_guard import acting, route
from .page_visit import Setting, Visit


def routes(setting: Setting) -> list[BaseRoute]:
    return [
        route(setting, "/account", account, needed=VIEWER),
        route(setting, "/account/password", acting("/account", change_password), method="POST",
              needed=VIEWER, hashes=True),
        route(setting, "/account/sign-ins/{id:int}/end", acting("/account", end_sign_in),
              method="POST", needed=VIEWER),
    ]  # fmt: skip


def account(visit: Visit) -> Response:
    assert visit.signed
    with visit.database.reading() as session:
        query = select(SignIn).where(SignIn.user_id == visit.signed.sign_in.user_id)
        found = session.scalars(query.order_by(SignIn.seen_at.desc())).all()
        return visit.show(
            "account.html",
            sign_ins=found,
            here=visit.signed.sign_in.id,
            means=roles.MEANS[visit.signed.role],
            browser=browser,
            user=visit.signed.sign_in.user,
            codes_left=second_factor.codes_left(visit.signed.sign_in.user),
        )


def change_password(visit: Visit) -> str:
    """Change the password. Requires the old one, and signs every other browser out."""
    assert visit.signed
    password = visit.raw("password")
    if password != visit.raw("again"):
        raise UserError("the new passwords do not match")
    user = expect_password(visit, visit.raw("old"))
    with visit.database.writing() as session:
        user = session.merge(user)
        users.set_password(session, user, password, visit.who, keep=visit.signed.sign_in.id)
    return "Your password was changed. You are signed out of all other browsers."


def expect_password(visit: Visit, password: str) -> User:
    """Return the user who gave the current password. Raises UserError."""
    with visit.database.writing() as session:
        # Limited like a sign-in, so that nobody can guess the password in a browser that is still
        # signed in.
        if sign_in_throttle.attempt(session, visit.who, _here(visit), time.time()):
            raise UserError(
                "too many attempts with a wrong password: try again in a few minutes", 429
            )
    with visit.database.reading() as session:
        user = users.by_password(session, visit.who, password)
    if user is None:
        raise UserError("the current password is wrong")
    with visit.database.writing() as session:
        sign_in_throttle.forget(session, visit.who, _here(visit))
    return user


def _here(visit: Visit) -> str:
    """Return the throttle's key for this browser alone: guesses elsewhere do not affect it."""
    assert visit.signed
    return f"signed in {visit.signed.sign_in.id}"


def end_sign_in(visit: Visit) -> str:
    assert visit.signed
    with visit.database.writing() as session:
        user = session.merge(visit.signed.sign_in.user, load=False)
        if not users.sign_out(session, user, visit.number("id")):
            raise UserError("that browser is already signed out", 404)
    return "The browser was signed out."


def browser(agent: str) -> str:
    """Return the browser and the system, derived from the user agent."""
    names = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"),
             ("Safari/", "Safari"))  # fmt: skip
    systems = (("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"),
               ("Windows", "Windows"), ("Mac OS", "macOS"), ("Linux", "Linux"))  # fmt: skip
    name = next((shown for mark, shown in names if mark in agent), "")
    system = next((shown for mark, shown in systems if mark in agent), "")
    return " on ".join(filter(None, (name, system))) or agent[:40] or "unknown"
