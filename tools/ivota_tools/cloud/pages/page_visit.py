"""One request to the pages: its user, its content, and its response."""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlencode, urlsplit

from anyio import CapacityLimiter
from sqlalchemy import Select
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ..accounts.authorization import Signed
from ..accounts.identity_provider import IdentityProvider
from ..accounts.roles import ADMIN, OPERATOR
from ..accounts.token_guess_delay import WrongTries
from ..accounts.users import UserError, digest, tidy
from ..board_config import BoardConfig
from ..channel.channel_files import ServedChannel
from ..health_probes import Checks
from ..sse_response import Places
from ..store.database import Database
from ..store.file_store import FileStore
from ..webhooks.webhook_settings import Webhooks
from .formatting import sentence
from .kept_counts import KeptCounts
from .pagination import Order, Page, page
from .rendering import PAGES
from .version_chart import Charts

HASHES_MOST = 2  # passwords that are verified at a time
NOTE = "ivota-note"  # the cookie with the message that the next page shows
KNOWN = "ivota-known"  # the cookie of a browser that has signed in before
KNOWN_S = 400 * 86400  # the longest time that browsers keep a cookie
Choice = TypeVar("Choice", bound=str)
FORM = "ivota-form"  # the cookie that forms are bound to before sign-in


@dataclass(frozen=True)
class Setting:
    """The environment of the pages.

    store        the firmware files
    local_token  the file with this machine's own token
    secret       signs forms before sign-in, and the setup link
    wake         is called when a push may be due
    health       whether reports are being stored
    boards       the cloud's address and settings for boards
    public_url   the HTTP address that boards are given
    plain        serve other machines even without TLS
    upload_most  maximum size of a firmware file, in bytes
    tries        counts wrong passwords
    streams      limits how many pages receive live events at a time
    provider     the identity provider that users can sign in with, if any
    webhooks     the servers that get messages
    channels     those that the cloud serves, by product
    """

    database: Database
    store: FileStore
    local_token: Path
    secret: bytes
    wake: Callable[[], None]
    health: Checks
    boards: BoardConfig
    public_url: Callable[[], str]
    plain: bool
    upload_most: int
    streams: Places
    tries: WrongTries
    # Each hash takes 64 MiB and much of a core, and must not delay any other request.
    hashing: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(HASHES_MOST))
    # Browsers that have signed in before do not wait behind strangers.
    hashing_known: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))
    charts: Charts = field(default_factory=Charts)
    provider: IdentityProvider | None = None
    webhooks: Webhooks = Webhooks()
    channels: Mapping[str, ServedChannel] = field(default_factory=dict)

    @functools.cached_property
    def counts(self) -> KeptCounts:
        return KeptCounts(self.database)

    def http_port(self) -> int:
        """Return the HTTP port that boards are given."""
        parts = urlsplit(self.public_url())
        return parts.port or (443 if parts.scheme == "https" else 80)

    def set_up_key(self) -> str:
        """Return the setup link's key: the same in every process that shares the database."""
        digest = hmac.new(self.secret, b"console set-up", hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest[:24]).decode()


@dataclass
class Visit:
    """One request: its user and its content."""

    setting: Setting
    request: Request
    signed: Signed | None
    form: Mapping[str, str] = field(default_factory=dict)
    fresh: str = ""  # a new value for the form cookie, if the browser has none

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

    def known_word(self, name: str) -> str:
        """Return the mark of a browser that has signed in with this name before, or ""."""
        word = self.request.cookies.get(KNOWN, "")
        nonce, _, mark = word.partition(".")
        right = hmac.compare_digest(mark.encode(errors="replace"), self._mark(name, nonce))
        return f"known {digest(nonce)}" if right else ""

    def make_known(self, answer: Response, name: str) -> None:
        nonce = secrets.token_urlsafe(16)
        answer.set_cookie(
            KNOWN,
            f"{nonce}.{self._mark(name, nonce).decode()}",
            path="/sign-in",
            max_age=KNOWN_S,
            httponly=True,
            samesite="strict",
            secure=self.secure,
        )

    def _mark(self, name: str, nonce: str) -> bytes:
        word = f"known {tidy(name)} {nonce}".encode(errors="replace")
        return hmac.new(self.setting.secret, word, hashlib.sha256).hexdigest().encode()

    @property
    def secure(self) -> bool:
        return self.request.url.scheme == "https"

    def number(self, name: str) -> int:
        """Return a number from the path."""
        return int(self.request.path_params[name])

    def asked(self, name: str, default: str = "", most: int = 1024) -> str:
        """Return a parameter of the query string."""
        return self.request.query_params.get(name, default)[:most].replace("\0", "")

    def page(
        self,
        session: Session,
        query: Select[Any],
        order: Order,
        length: int,
        count: int | None = None,
    ) -> Page[Any]:
        """Return the requested page of the query's rows."""
        return page(session, query, order, self.asked("page"), length, count)

    def raw(self, name: str) -> str:
        """Return a field that the page's form always has, exactly as the user has entered it.

        No default replaces a missing field: its user would not have seen it. Raises
        HTTPException.
        """
        if name not in self.form:
            raise HTTPException(400, "This form is not complete. Reload the page and try again.")
        return self.form[name]

    def said(self, name: str, most: int = 1024) -> str:
        """Return such a field without blanks around it. Raises HTTPException if it is too long:
        what is left of a query may mean other devices.
        """
        text = self.raw(name).replace("\0", "").strip()
        if len(text) > most:
            words = f"The field “{name}” has more than {most:,} characters. Shorten it."
            raise HTTPException(400, words)
        return text

    def sent(self, name: str, most: int = 1024) -> str:
        """Return a field that a browser may leave out: a button that was not pressed, or a box
        that is not checked. "" must be the careful choice.
        """
        return self.said(name, most) if name in self.form else ""

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
        health = self.setting.health()
        text = PAGES.get_template(template).render(
            visit=self,
            signed=self.signed,
            may_operate=bool(self.signed and self.signed.may(OPERATOR)),
            may_admin=bool(self.signed and self.signed.may(ADMIN)),
            csrf=self.csrf,
            note=note,
            note_is_bad=bad,
            path=request.url.path,
            outage=sentence(health.problem) if health.problem else None,
            store_outage=sentence(health.store) if health.store else None,
            standby=health.standby,
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
        """Redirect to another page, which shows the message."""
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
        """Return this page's address with changed query parameters; None or "" removes one."""
        given = dict(self.request.query_params)
        for name, value in changes.items():
            given[name] = "" if value is None else str(value)
        kept = {name: value for name, value in given.items() if value}
        return self.request.url.path + ("?" + urlencode(kept) if kept else "")


def _note(request: Request) -> tuple[str, bool]:
    """Return the message that the previous page left for this one."""
    try:
        text, bad = json.loads(unquote(request.cookies.get(NOTE, "")))
        return str(text), bool(bad)
    except (ValueError, TypeError, RecursionError):
        return "", False


def one_of(choices: Iterable[Choice], text: str, problem: str) -> Choice:
    """Return the text if it is one of a form's choices. Raises UserError otherwise."""
    for each in choices:
        if each == text:
            return each
    raise UserError(problem)


def whole(text: str) -> int:
    """Parse a number from a form or an address; return 0 if it is invalid or too long."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
