"""Sign in through an identity provider (OpenID Connect), and return from it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from dataclasses import astuple

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from ..accounts import users
from ..accounts.identity_provider import Flow, IdentityProvider, ProviderError
from ..accounts.users import UserError
from .formatting import sentence
from .page_guard import route, safe_next
from .page_visit import Setting, Visit
from .sign_in import enter, needless, onward_of

FLOW = "ivota-provider"  # the cookie of a sign-in in progress
FLOW_S = 900  # how long a sign-in at the provider may take
PATH = "/sign-in/provider"


def routes(setting: Setting) -> list[BaseRoute]:
    if setting.provider is None:
        return []
    return [
        route(setting, PATH, begin, needed=None),
        route(setting, PATH + "/return", finish, needed=None),
    ]


def begin(visit: Visit) -> Response:
    """Send the browser to the provider."""
    if elsewhere := needless(visit):
        return elsewhere
    try:
        url, flow = _provider(visit).begin(_back(visit))
    except ProviderError as error:
        return _failed(visit, str(error))
    answer = RedirectResponse(url, 303)
    answer.set_cookie(
        FLOW,
        _sealed(visit, flow, onward_of(visit)),
        path=PATH,
        max_age=FLOW_S,
        httponly=True,
        samesite="lax",  # the provider's page leads back here
        secure=visit.secure,
    )
    return answer


def finish(visit: Visit) -> Response:
    """Sign in the user that the provider has confirmed."""
    found = _opened(visit, visit.request.cookies.get(FLOW, ""))
    if found is None:
        return _failed(visit, "This sign-in took too long, or began in another browser.")
    flow, onward = found
    try:
        identity = _provider(visit).finish(flow, _back(visit), visit.request.query_params)
        with visit.database.writing() as session:
            if not users.any_user(session):
                raise UserError("create the first user with the setup link")
            user = users.by_identity(
                session, identity.subject, identity.name, identity.role, time.time()
            )
    except (ProviderError, UserError) as error:
        return _failed(visit, str(error))
    answer = enter(visit, user, onward)
    answer.delete_cookie(FLOW, path=PATH, secure=visit.secure, httponly=True)
    return answer


def _failed(visit: Visit, words: str) -> Response:
    visit.setting.tries.wrong(visit.address)
    return visit.go("/sign-in", sentence(words), True)


def _provider(visit: Visit) -> IdentityProvider:
    if visit.setting.provider is None:
        raise HTTPException(404, "This page does not exist.")
    return visit.setting.provider


def _back(visit: Visit) -> str:
    """Return the console's address as the browser uses it; the provider must know this address."""
    return str(visit.request.url.replace(path=PATH + "/return", query="", fragment=""))


def _sealed(visit: Visit, flow: Flow, onward: str) -> str:
    values = [*astuple(flow), onward, int(time.time()) + FLOW_S]
    text = base64.urlsafe_b64encode(json.dumps(values).encode()).decode()
    return f"{text}.{_sign(visit, text)}"


def _opened(visit: Visit, given: str) -> tuple[Flow, str] | None:
    text, _, mark = given.partition(".")
    if not hmac.compare_digest(mark.encode(errors="replace"), _sign(visit, text).encode()):
        return None
    try:
        *flow, onward, until = json.loads(base64.urlsafe_b64decode(text))
        return (Flow(*flow), safe_next(onward)) if until > time.time() else None
    except (ValueError, TypeError, binascii.Error):
        return None


def _sign(visit: Visit, text: str) -> str:
    words = f"provider {text}".encode(errors="replace")
    return hmac.new(visit.setting.secret, words, hashlib.sha256).hexdigest()
