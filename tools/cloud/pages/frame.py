"""What all pages have in common: who is there, forms, answers, security headers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import ValidationError
from sqlalchemy.orm import Session
from sqlalchemy.orm.interfaces import ORMOption
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from .. import access, users
from ..access import Signed
from ..campaigns import CampaignError
from ..database import Database
from ..firmware import FirmwareError
from ..models import Base
from ..query import QueryError
from ..roles import ADMIN, OPERATOR, VIEWER
from ..users import UserError
from . import words
from .chart import Charts

Row = TypeVar("Row", bound=Base)

log = logging.getLogger("ivota.cloud")

HERE = Path(__file__).parent
FORM_MOST = 64 * 1024  # bytes
NOTE = "ivota-note"  # the cookie with the sentence that the next page shows
FORM = "ivota-form"  # the cookie that forms are bound to before anybody has signed in

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
REFUSALS = (CampaignError, FirmwareError, QueryError, UserError)


class Elsewhere(Exception):
    """Ends a request by sending the browser to another page of ours."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


@dataclass(frozen=True)
class Setting:
    """Where the pages live.

    secret      signs what forms carry before anybody has signed in, and the set-up link
    plain       also beyond this machine without TLS
    mqtt        (host, port) that boards are told
    tls         of both ports
    sign_in     devices need their secrets
    """

    database: Database
    folder: Path
    secret: bytes
    wake: Callable[[], None]
    health: Callable[[], tuple[str | None, bool, bool]]
    mqtt: Callable[[], tuple[str, int]]
    plain: bool
    tls: bool
    sign_in: bool
    upload_most: int
    charts: Charts = field(default_factory=Charts)

    def set_up_key(self) -> str:
        """Of the set-up link: the same in every process of a database, good for no user yet."""
        digest = hmac.new(self.secret, b"console set-up", hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest[:24]).decode()


@dataclass
class Visit:
    """One request: who makes it, and what it carries."""

    setting: Setting
    request: Request
    signed: Signed | None
    form: Mapping[str, str] = field(default_factory=dict)
    fresh: str = ""  # a word for the form cookie, where the browser has none

    @property
    def database(self) -> Database:
        return self.setting.database

    @property
    def who(self) -> str:
        assert self.signed
        return self.signed.name

    @property
    def address(self) -> str:
        return self.request.client.host if self.request.client else ""

    @property
    def secure(self) -> bool:
        return self.request.url.scheme == "https"

    def number(self, name: str) -> int:
        """Of the path."""
        return int(self.request.path_params[name])

    def asked(self, name: str, default: str = "", most: int = 1024) -> str:
        """A word of the query string."""
        return self.request.query_params.get(name, default)[:most].replace("\0", "")

    def page(self) -> int:
        return max(whole(self.asked("page", "1")), 1)

    def said(self, name: str, most: int = 1024) -> str:
        """A word of the form."""
        return self.form.get(name, "")[:most].replace("\0", "").strip()

    @property
    def form_word(self) -> str:
        return self.fresh or self.request.cookies.get(FORM, "")

    @property
    def csrf(self) -> str:
        if self.signed:
            return self.signed.csrf
        word = f"form {self.form_word}".encode(errors="replace")
        return hmac.new(self.setting.secret, word, hashlib.sha256).hexdigest()

    def show(self, template: str, status: int = 200, /, **values: object) -> Response:
        request = self.request
        note, bad = _note(request)
        problem, connected, standby = self.setting.health()
        text = PAGES.get_template(template).render(
            visit=self,
            signed=self.signed,
            may_operate=bool(self.signed and self.signed.may(OPERATOR)),
            may_admin=bool(self.signed and self.signed.may(ADMIN)),
            csrf=self.csrf,
            note=note,
            note_is_bad=bad,
            path=request.url.path,
            problem=problem,
            connected=connected,
            standby=standby,
            **values,
        )
        answer = Response(text, status, media_type="text/html; charset=utf-8")
        if note:
            answer.delete_cookie(NOTE, path="/")
        if self.fresh:
            answer.set_cookie(
                FORM, self.fresh, path="/", httponly=True, samesite="strict", secure=self.secure
            )
        return answer

    def go(self, url: str, note: str = "", bad: bool = False) -> Response:
        """To another page, which shows the sentence."""
        answer = RedirectResponse(url, 303)
        if note:
            text = json.dumps([note[:500], bad])
            answer.set_cookie(
                NOTE,
                quote(text),
                path="/",
                max_age=60,
                httponly=True,
                samesite="strict",
                secure=self.secure,
            )
        return answer

    def again(self, **changes: object) -> str:
        """This page's address with other words in its query; None or "" takes one away."""
        given = dict(self.request.query_params)
        for name, value in changes.items():
            given[name] = "" if value is None else str(value)
        kept = {name: value for name, value in given.items() if value}
        return self.request.url.path + ("?" + urlencode(kept) if kept else "")


Handler = Callable[[Visit], Response]


def route(
    setting: Setting,
    path: str,
    handler: Handler,
    *,
    method: str = "GET",
    needed: str | None = VIEWER,
) -> Route:
    """`needed` is the role that is asked for; None lets in everybody."""

    async def endpoint(request: Request) -> Response:
        form = await _form(request) if method == "POST" else {}
        return await run_in_threadpool(answer, request, form)

    def answer(request: Request, form: dict[str, str]) -> Response:
        visit = entered(setting, request, needed, form)
        if method == "POST" and not _ours(visit):
            raise HTTPException(
                403, "This form was too old, or not from this page. Load it again, then try once "
                "more."
            )  # fmt: skip
        return handler(visit)

    return Route(path, endpoint, methods=[method])


def entered(
    setting: Setting, request: Request, needed: str | None, form: Mapping[str, str]
) -> Visit:
    """Raises Elsewhere or HTTPException where nobody who may is there."""
    if not (request.url.scheme == "https" or setting.plain or access.is_local(request)):
        raise HTTPException(
            403,
            "Without TLS the console's pages are for the machine that it runs on, at 127.0.0.1. "
            "Put a proxy with a certificate before it, or start it with --plain-console.",
        )
    signed = access.signed_in(request, setting.database)
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
            f"{signed.name} is {signed.role} here; this needs {needed}. An admin can change that.",
        )
    return visit


def _seen(request: Request) -> str:
    """The page that somebody looks at: for a form, whose own address is none, the one it is on."""
    url = str(request.url) if request.method == "GET" else request.headers.get("referer", "/")
    try:
        parts = urlsplit(url)
    except ValueError:
        return "/"
    return safe_next(parts.path + (f"?{parts.query}" if parts.query else ""))


def _ours(visit: Visit) -> bool:
    given = visit.form.get("csrf", "")
    if visit.signed:
        return access.from_our_page(visit.request, visit.signed, given)
    right = hmac.compare_digest(given.encode(errors="replace"), visit.csrf.encode())
    return right and not visit.fresh and access.same_site(visit.request)


async def _form(request: Request) -> dict[str, str]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_MOST:
            raise HTTPException(413, "That is more than any form of this console sends.")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=200))
    except ValueError:
        raise HTTPException(400, "That is not a form of this console.") from None


def _note(request: Request) -> tuple[str, bool]:
    """What the page before wanted to be said."""
    try:
        text, bad = json.loads(unquote(request.cookies.get(NOTE, "")))
        return str(text), bool(bad)
    except (ValueError, TypeError, RecursionError):
        return "", False


def acting(url: str, act: Callable[[Visit], str]) -> Handler:
    """Runs what changes something, and goes back to `url` (with the path's numbers put in) with
    the sentence that it returns, or with what refuses it.
    """

    def handler(visit: Visit) -> Response:
        back = url.format(**visit.request.path_params)
        try:
            note = act(visit)
        except REFUSALS as error:
            return visit.go(back, sentence(str(error)), True)
        return visit.go(back, note)

    return handler


def whole(text: str) -> int:
    """A number that a form or an address says; 0 where it is none, or longer than any of ours."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def row(
    session: Session, kind: type[Row], number: int, options: Sequence[ORMOption] = ()
) -> Row | None:
    """By its id out of a path, which is as large as who asks likes; a database's has 31 bits."""
    return session.get(kind, number, options=options) if 0 < number < 2**31 else None


def refusal(error: Exception) -> str:
    """What a form says that is not taken: our own words, or the field and what is wrong there."""
    if isinstance(error, ValidationError):
        said = error.errors()[0]
        return sentence(f"{said['loc'][0]}: {said['msg']}")
    return sentence(str(error))


def sentence(text: str) -> str:
    """As people write one."""
    text = text[:1].upper() + text[1:]
    return text if text[-1:] in ".!?" else text + "."


def safe_next(url: str) -> str:
    """A page of ours, whatever somebody has put into the link."""
    if not url.startswith("/") or url[1:2] in ("/", "\\") or not url.isprintable() or "\\" in url:
        return "/"
    return url


def secure(headers: MutableHeaders, over_tls: bool) -> None:
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("Cache-Control", "no-store")
    if over_tls:
        headers.setdefault("Strict-Transport-Security", "max-age=31536000")


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(words.FILTERS)
    made.globals["asset"] = asset
    return made


def asset(name: str) -> str:
    """An asset's address, which changes with what it holds, so that it may be kept for long."""
    return f"/static/{name}?{_ASSETS[name][1]}"


def _assets() -> dict[str, tuple[bytes, str]]:
    found = {}
    for path in sorted((HERE / "static").iterdir()):
        data = path.read_bytes()
        found[path.name] = data, hashlib.sha256(data).hexdigest()[:12]
    return found


_ASSETS = _assets()
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
PAGES = _environment()


async def static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _ASSETS:  # a name, never a path
        raise HTTPException(404, "There is no such file.")
    data, digest = _ASSETS[name]
    kept = request.url.query == digest
    headers = {"Cache-Control": "public, max-age=31536000, immutable" if kept else "no-cache"}
    return Response(data, 200, headers, media_type=_TYPES[Path(name).suffix])
