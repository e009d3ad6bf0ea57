"""Users, tokens, and one's own account."""

from __future__ import annotations

import time

from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from .. import access, audit, roles, throttle, users
from ..models import SignIn, Token, User
from ..roles import ADMIN, VIEWER
from ..users import UserError
from .frame import REFUSALS, Setting, Visit, acting, route, row, sentence

TOKENS_MOST = 1000


def routes(setting: Setting) -> list[BaseRoute]:
    def post(path: str, act: object, back: str, needed: str) -> BaseRoute:
        handler = acting(back, act)  # type: ignore[arg-type]
        return route(setting, path, handler, method="POST", needed=needed)

    return [
        route(setting, "/people", people, needed=ADMIN),
        post("/people/users", add_user, "/people", ADMIN),
        post("/people/users/{id:int}/role", change_role, "/people", ADMIN),
        post("/people/users/{id:int}/password", reset_password, "/people", ADMIN),
        post("/people/users/{id:int}/remove", remove_user, "/people", ADMIN),
        route(setting, "/people/tokens", add_token, method="POST", needed=ADMIN),
        post("/people/tokens/{id:int}/remove", remove_token, "/people", ADMIN),
        route(setting, "/account", account, needed=VIEWER),
        post("/account/password", change_password, "/account", VIEWER),
        post("/account/sign-ins/{id:int}/end", end_sign_in, "/account", VIEWER),
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
            problem_here=problem,
            local_token=str(visit.setting.folder.parent / access.LOCAL_TOKEN),
        )


def add_user(visit: Visit) -> str:
    with visit.database.writing() as session:
        user = users.create(session, visit.said("name", 256), visit.form.get("password", ""),
                            visit.said("role", 16), time.time(), visit.who)  # fmt: skip
        return f"{user.name} may sign in, as {user.role}."


def _user(session: Session, number: int) -> User:
    found = row(session, User, number)
    if found is None:
        raise HTTPException(404, "There is no such user.")
    return found


def change_role(visit: Visit) -> str:
    with visit.database.writing() as session:
        user = _user(session, visit.number("id"))
        users.set_role(session, user, visit.said("role", 16), visit.who)
        return f"{user.name} is {user.role} now: {roles.MEANS[user.role]}."


def reset_password(visit: Visit) -> str:
    with visit.database.writing() as session:
        user = _user(session, visit.number("id"))
        users.set_password(session, user, visit.form.get("password", ""), visit.who)
        return f"{user.name} has a new password and is signed out everywhere."


def remove_user(visit: Visit) -> str:
    with visit.database.writing() as session:
        user = _user(session, visit.number("id"))
        users.remove(session, user, visit.who)
        return f"{user.name} is removed and signed out."


def add_token(visit: Visit) -> Response:
    """Shows the token, this once: so there is no way back before it is shown."""
    name = visit.said("name", 256)
    try:
        with visit.database.writing() as session:
            _, word = access.create_token(session, name, visit.said("role", 16), visit.who)
    except REFUSALS as error:
        return _people(visit, 422, problem=sentence(str(error)))
    return _people(visit, 200, made=name, token=word)


def remove_token(visit: Visit) -> str:
    with visit.database.writing() as session:
        token = row(session, Token, visit.number("id"))
        if token is None:
            raise UserError("that token is gone already", 404)
        session.delete(token)
        audit.note(session, visit.who, "token removed", token.name)
        return f"The token {token.name} is removed: nothing is answered to it any more."


# -- one's own ------------------------------------------------------------------------------------


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
            least=users.PASSWORD_LEAST,
            browser=browser,
        )


def change_password(visit: Visit) -> str:
    """Who does it must know the old one; every other browser is signed out."""
    assert visit.signed
    password = visit.form.get("password", "")
    if password != visit.form.get("again", ""):
        raise UserError("the two new passwords are not the same")
    with visit.database.writing() as session:
        # Counted as a sign-in would be: a browser left open is no place to guess at leisure.
        if throttle.attempt(session, visit.who, visit.address, time.time()):
            raise UserError("too many tries with a wrong password: wait some minutes", 429)
    with visit.database.reading() as session:
        user = users.by_password(session, visit.who, visit.form.get("old", ""))
    if user is None:
        raise UserError("the old password is wrong")
    with visit.database.writing() as session:
        throttle.forget(session, visit.who, visit.address)
    with visit.database.writing() as session:
        user = session.merge(user)
        users.set_password(session, user, password, visit.who, keep=visit.signed.sign_in.id)
    return "Your password is changed. Other browsers are signed out."


def end_sign_in(visit: Visit) -> str:
    assert visit.signed
    with visit.database.writing() as session:
        user = session.merge(visit.signed.sign_in.user, load=False)
        if not users.sign_out(session, user, visit.number("id")):
            raise UserError("that browser is signed out already", 404)
    return "That browser is signed out."


def browser(agent: str) -> str:
    """A browser and a system, out of what it calls itself."""
    names = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"),
             ("Safari/", "Safari"))  # fmt: skip
    systems = (("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"),
               ("Windows", "Windows"), ("Mac OS", "macOS"), ("Linux", "Linux"))  # fmt: skip
    name = next((shown for mark, shown in names if mark in agent), "")
    system = next((shown for mark, shown in systems if mark in agent), "")
    return " on ".join(filter(None, (name, system))) or agent[:40] or "unknown"
