"""Route a request to its page: check who may see it, and whether a form is one of ours."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit

from anyio import to_thread
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from ...common.campaign_options import OptionError
from ..accounts import authorization, users
from ..accounts.roles import VIEWER
from ..accounts.users import UserError
from ..mqtt.device_sign_in import SecretError
from ..rollout.campaign_actions import CampaignError
from ..rollout.device_actions import MismatchError, TagError, UpdateStateError
from ..rollout.device_query import QueryError
from ..store.device_acceptance import StatusError
from ..store.firmware_store import FirmwareError
from ..webhooks.delivery_actions import WebhookError
from .formatting import sentence
from .page_visit import FORM, Setting, Visit

HASHES_WAITING = 30
FORM_MOST = 64 * 1024  # bytes
REFUSALS = (
    CampaignError,
    FirmwareError,
    MismatchError,
    OptionError,
    QueryError,
    SecretError,
    StatusError,
    TagError,
    UpdateStateError,
    UserError,
    WebhookError,
)

Handler = Callable[[Visit], Response]


class Elsewhere(Exception):
    """End a request by redirecting the browser to another of our pages."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


def route(
    setting: Setting,
    path: str,
    handler: Handler,
    *,
    method: str = "GET",
    needed: str | None = VIEWER,
    hashes: bool = False,
) -> Route:
    """Return a route to `handler`.

    `needed` is the required role; None admits everybody. `hashes`: the handler verifies a
    password, so it waits in a queue of such requests, and delays no others.
    """

    async def endpoint(request: Request) -> Response:
        form = await _form(request) if method == "POST" else {}
        if not hashes:
            return await run_in_threadpool(answer, request, form)
        visit = Visit(setting, request, None, form)
        known = visit.known_word(visit.form.get("name", "").strip())
        limiter = setting.hashing_known if known else setting.hashing
        if limiter.statistics().tasks_waiting >= HASHES_WAITING:
            raise HTTPException(503, "Too many people are signing in. Try again in a minute.")
        return await to_thread.run_sync(answer, request, form, limiter=limiter)

    def answer(request: Request, form: dict[str, str]) -> Response:
        visit = entered(setting, request, needed, form)
        if method == "POST" and not _ours(visit):
            raise HTTPException(
                403, "This form has expired or came from another site. Reload the page and try "
                "again."
            )  # fmt: skip
        return handler(visit)

    return Route(path, endpoint, methods=[method])


def entered(
    setting: Setting, request: Request, needed: str | None, form: Mapping[str, str]
) -> Visit:
    """Return the visit. Raises Elsewhere or HTTPException unless the user may see the page."""
    if not (request.url.scheme == "https" or setting.plain or authorization.is_local(request)):
        raise HTTPException(
            403,
            "Without TLS, the console is available only on the machine that runs the cloud, at "
            "127.0.0.1. Put a reverse proxy with a TLS certificate in front of it, or start the "
            "cloud with --plain-console.",
        )
    signed = authorization.signed_in(request, setting.database)
    visit = Visit(setting, request, signed, form)
    if signed is None:
        if not request.cookies.get(FORM):
            visit.fresh = secrets.token_urlsafe(24)
        if needed is not None:
            with setting.database.reading() as session:
                known = users.any_user(session)
            if not known:
                raise Elsewhere("/set-up")
            here = _seen(request)
            raise Elsewhere("/sign-in?" + urlencode({"next": here}) if here != "/" else "/sign-in")
    elif needed is not None and not signed.may(needed):
        raise HTTPException(
            403,
            f"This page requires the role {needed}. You are signed in as {signed.name}, with the "
            f"role {signed.role}. "
            "An admin can change your role.",
        )
    return visit


def _seen(request: Request) -> str:
    """Return the page that the browser shows; a form's own address is not a page."""
    url = str(request.url) if request.method == "GET" else request.headers.get("referer", "/")
    try:
        parts = urlsplit(url)
    except ValueError:
        return "/"
    return safe_next(parts.path + (f"?{parts.query}" if parts.query else ""))


def _ours(visit: Visit) -> bool:
    given = visit.form.get("csrf", "")
    if visit.signed:
        return authorization.from_our_page(visit.request, visit.signed, given)
    right = hmac.compare_digest(given.encode(errors="replace"), visit.csrf.encode())
    return right and not visit.fresh and authorization.same_site(visit.request)


async def _form(request: Request) -> dict[str, str]:
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > FORM_MOST:
                raise HTTPException(413, "The form is too large.")
    except ClientDisconnect:
        raise HTTPException(400, "The form is incomplete.") from None
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=200))
    except ValueError:
        raise HTTPException(400, "The form is not valid.") from None


def acting(url: str, act: Callable[[Visit], str]) -> Handler:
    """Return a handler that runs `act` and redirects to `url`, with its path parameters filled in.

    The next page shows the message that `act` returns, or why the action was rejected.
    """

    def handler(visit: Visit) -> Response:
        back = url.format(**visit.request.path_params)
        try:
            note = act(visit)
        except REFUSALS as error:
            words = error.on_page if isinstance(error, FirmwareError) else str(error)
            return visit.go(back, sentence(words), True)
        return visit.go(back, note)

    return handler


def safe_next(url: str) -> str:
    """Return `url` if it is one of our pages, otherwise "/": anybody can write the link."""
    if not url.startswith("/") or url[1:2] in ("/", "\\") or not url.isprintable() or "\\" in url:
        return "/"
    return url
