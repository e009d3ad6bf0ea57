"""Sign in and sign out."""

from __future__ import annotations

import time

from starlette.responses import Response
from starlette.routing import BaseRoute

from ..accounts import authorization, second_factor, sign_in_throttle, users
from ..accounts.roles import VIEWER
from ..network_addresses import network
from ..store.models import User
from .formatting import counted, span
from .page_guard import route, safe_next
from .page_visit import Setting, Visit

WRONG = "Wrong name or password."
WRONG_CODE = "This code is wrong or was already used."


def routes(setting: Setting) -> list[BaseRoute]:
    return [
        route(setting, "/sign-in", ask, needed=None),
        route(setting, "/sign-in", sign_in, method="POST", needed=None, hashes=True),
        route(setting, "/sign-in/code", enter_code, method="POST", needed=None),
        route(setting, "/sign-out", sign_out, method="POST", needed=VIEWER),
    ]


def ask(visit: Visit) -> Response:
    return needless(visit) or _form(visit, 200, onward_of(visit))


def onward_of(visit: Visit) -> str:
    """Return the page that the user wanted to see."""
    return safe_next(visit.asked("next", "/"))


def needless(visit: Visit) -> Response | None:
    """Return the page for a visitor who is already signed in or must create the first user."""
    if visit.signed:
        return visit.go(onward_of(visit))
    with visit.database.reading() as session:
        return None if users.any_user(session) else visit.go("/set-up")


def _form(visit: Visit, status: int, onward: str, name: str = "", problem: str = "") -> Response:
    provider = visit.setting.provider
    return visit.show(
        "sign_in.html",
        status,
        onward=onward,
        name=name,
        problem=problem,
        provider=provider.host if provider else "",
    )


def sign_in(visit: Visit) -> Response:
    """Respond alike, and equally slowly, to an unknown name and to a wrong password."""
    name, password = visit.said("name", 256), visit.raw("password")
    onward = safe_next(visit.sent("next") or "/")

    def again(words: str, status: int) -> Response:
        return _form(visit, status, onward, name, words)

    known = visit.known_word(name)
    where = known or network(visit.address)
    with visit.database.writing() as session:
        wait_s = sign_in_throttle.attempt(session, name, where, time.time(), bool(known))
    if wait_s:
        answer = again(f"Too many attempts. Try again in {span(wait_s)}.", 429)
        answer.headers["Retry-After"] = f"{wait_s:.0f}"
        return answer
    with visit.database.reading() as session:
        user = users.by_password(session, name, password)
    if user is None:
        visit.setting.tries.wrong(visit.address)
        return again(WRONG, 401)
    with visit.database.writing() as session:
        sign_in_throttle.forget(session, user.name, where)
    if user.second_factor:
        ticket = second_factor.ticket(visit.setting.secret, user, time.time())
        return visit.show("sign_in_code.html", onward=onward, ticket=ticket, problem="")
    return enter(visit, user, onward)


def enter_code(visit: Visit) -> Response:
    """Check the second factor of a browser that has sent the right password."""
    ticket, onward = visit.said("ticket"), safe_next(visit.sent("next") or "/")
    now = time.time()
    with visit.database.writing() as session:
        user = second_factor.ticket_user(visit.setting.secret, session, ticket, now)
        if user is None:
            return _form(visit, 401, onward, problem="Signing in took too long. Sign in again.")
        key = f"second factor of {user.name}"
        where = visit.known_word(user.name) or "second factor"
        # Only people who know the password get here, so a separate count locks nobody else out.
        wait_s = sign_in_throttle.attempt(session, key, where, now, known=True)
        accepted = None if wait_s else second_factor.accept(session, user, visit.said("code"), now)
        if accepted:
            sign_in_throttle.forget(session, key, where)
            left = second_factor.codes_left(user)
    if accepted is None:
        problem = f"Too many attempts. Try again in {span(wait_s)}." if wait_s else WRONG_CODE
        status = 429 if wait_s else 401
        return visit.show(
            "sign_in_code.html", status, onward=onward, ticket=ticket, problem=problem
        )
    words = "" if accepted == "app" else f"{counted(left, 'recovery code')} left."
    return enter(visit, user, onward, words)


def enter(visit: Visit, user: User, onward: str, words: str = "") -> Response:
    """Sign the browser in as this user, and redirect to the next page."""
    browser = visit.request.headers.get("user-agent", "")
    with visit.database.writing() as session:
        word = users.sign_in(session, user, time.time(), visit.address, browser)
    answer = visit.go(onward, words)
    answer.set_cookie(
        authorization.SECURE_COOKIE if visit.secure else authorization.COOKIE,
        word,
        path="/",
        max_age=int(users.LIFE_S),
        httponly=True,
        samesite="lax",  # a link in an e-mail can open the page, but no other site's form can act
        secure=visit.secure,
    )
    visit.make_known(answer, user.name)
    return answer


def sign_out(visit: Visit) -> Response:
    assert visit.signed
    everywhere = bool(visit.sent("everywhere"))
    with visit.database.writing() as session:
        user = session.merge(visit.signed.sign_in.user, load=False)
        users.sign_out(session, user, None if everywhere else visit.signed.sign_in.id)
    answer = visit.go("/sign-in", "You are signed out" + (" everywhere." if everywhere else "."))
    for name in (authorization.COOKIE, authorization.SECURE_COOKIE):
        answer.delete_cookie(name, path="/", secure=visit.secure, httponly=True)
    answer.headers["Clear-Site-Data"] = '"cache"'
    return answer
