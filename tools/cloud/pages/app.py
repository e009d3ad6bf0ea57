"""All pages as one application, which the server hands what is not the API's or a download."""

from __future__ import annotations

import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from .. import access
from . import (
    account,
    audit,
    campaign,
    campaign_acts,
    campaign_new,
    device,
    enrol,
    firmware,
    fleet,
    groups,
    live,
    people,
    set_up,
    sign_in,
)
from .headers import Secured
from .rendering import static
from .routing import Elsewhere
from .visit import Setting, Visit

_log = logging.getLogger("ivota.cloud")

_TITLES = {
    400: "That was not understood",
    403: "Not allowed",
    404: "Nothing is here",
    405: "Not like this",
    413: "Too much",
    500: "The console failed",
}


def make_pages(setting: Setting) -> Starlette:
    def sent_on(request: Request, error: Exception) -> Response:
        assert isinstance(error, Elsewhere)
        return RedirectResponse(error.url, 303)

    def refused(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        words = error.detail if isinstance(error, HTTPException) else ""
        if status == 500:
            _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
            words = "Its log says why. What you were about to do may not have happened."
        elif words in ("Not Found", "Method Not Allowed"):
            words = "There is no such page in this console."
        try:
            signed = access.signed_in(request, setting.database)
        except Exception:  # the database itself may be what fails
            signed = None
        visit = Visit(setting, request, signed)
        title = _TITLES.get(status, "That did not work")
        return visit.show("error.html", status, title=title, words=words)

    app = Starlette(
        routes=[
            Route("/static/{name}", static),
            *(each for part in (
                fleet, device, enrol, firmware, campaign, campaign_acts, campaign_new, groups,
                audit, people, account, sign_in, set_up, live,
            ) for each in part.routes(setting)),
        ],
        exception_handlers={Elsewhere: sent_on, HTTPException: refused, 500: refused},
    )  # fmt: skip
    app.add_middleware(Secured)
    return app
