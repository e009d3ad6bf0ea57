"""All pages as one application; it gets every request that is not for the API or a download."""

from __future__ import annotations

import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from ..accounts import authorization
from . import (
    audit_log,
    campaign_actions,
    campaigns,
    channels,
    device,
    firmware,
    first_user,
    fleet,
    groups,
    live_events,
    new_campaign,
    new_devices,
    own_account,
    own_second_factor,
    provider_sign_in,
    selected_devices,
    sign_in,
    users_and_tokens,
    webhook_messages,
)
from .page_guard import Elsewhere
from .page_visit import Setting, Visit
from .rendering import static
from .security_headers import PAGES, Secured

_log = logging.getLogger("ivota.cloud")

_TITLES = {
    400: "Bad request",
    403: "Not allowed",
    404: "Page not found",
    405: "Method not allowed",
    413: "Request too large",
    500: "Something went wrong",
    503: "Too many requests",
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
            words = "Your change may not have been saved. See the cloud's log for details."
        elif words in ("Not Found", "Method Not Allowed"):
            words = "This page does not exist."
        try:
            signed = authorization.signed_in(request, setting.database)
        except Exception:  # the failure may be the database's
            signed = None
        visit = Visit(setting, request, signed)
        title = _TITLES.get(status, "Request failed")
        return visit.show("error.html", status, title=title, words=words)

    app = Starlette(
        routes=[
            Route("/static/{name}", static),
            *(each for part in (
                fleet, device, selected_devices, new_devices, firmware, campaigns,
                campaign_actions, new_campaign, channels, groups, audit_log, users_and_tokens,
                webhook_messages, own_account, own_second_factor, sign_in, provider_sign_in,
                first_user, live_events,
            ) for each in part.routes(setting)),
        ],
        exception_handlers={Elsewhere: sent_on, HTTPException: refused, 500: refused},
    )  # fmt: skip
    app.add_middleware(Secured, headers=PAGES)
    return app
