"""All pages as one application, which the server hands what is not the API's or a download."""

from __future__ import annotations

import logging

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .. import access
from . import (
    campaign,
    campaign_new,
    device,
    enrol,
    firmware,
    fleet,
    groups,
    live,
    log,
    people,
    sign_in,
)
from .frame import Elsewhere, Setting, Visit, secure, static

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
                fleet, device, enrol, firmware, campaign, campaign_new, groups, log, people,
                sign_in, live,
            ) for each in part.routes(setting)),
        ],
        exception_handlers={Elsewhere: sent_on, HTTPException: refused, 500: refused},
    )  # fmt: skip
    app.add_middleware(Secured)
    return app


class Secured:
    """Gives every answer the headers that browsers look at."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                secure(MutableHeaders(scope=message), scope.get("scheme") == "https")
            await send(message)

        await self._app(scope, receive, send_secured)
