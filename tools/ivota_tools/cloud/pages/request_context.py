"""One request to the pages: who makes it, what it carries, and what it is answered with."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlencode, urlsplit

from anyio import CapacityLimiter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ..accounts.authorization import Signed
from ..accounts.failed_attempts import WrongTries
from ..accounts.roles import ADMIN, OPERATOR
from ..accounts.users import digest, tidy
from ..board_config import BoardConfig
from ..event_stream import Places
from ..health import Checks
from ..store.database import Database
from .formatting import sentence
from .pagination import Page, page
from .rendering import PAGES
from .version_chart import Charts

HASHES_MOST = 2  # passwords that are looked at at a time
NOTE = "ivota-note"  # the cookie with the sentence that the next page shows
KNOWN = "ivota-known"  # the cookie of a browser that has signed in before
KNOWN_S = 400 * 86400  # as long as browsers keep any
FORM = "ivota-form"  # the cookie that forms are bound to before anybody has signed in


@dataclass(frozen=True)
class Setting:
    """Where the pages live.

    folder       the firmware files
    secret       signs what forms carry before anybody has signed in, and the set-up link
    wake         is called when a push may be due
    health       whether reports are being stored
    boards       what boards are told to reach the cloud
    public_url   the address of HTTP that boards are told
    plain        also beyond this machine without TLS
    upload_most  bytes of a firmware file
    tries        notes wrong passwords
    streams      how many pages may be told of changes at a time
    """

    database: Database
    folder: Path
    secret: bytes
    wake: Callable[[], None]
    health: Checks
    boards: BoardConfig
    public_url: Callable[[], str]
    plain: bool
    upload_most: int
    streams: Places
    tries: WrongTries
    # Each hash takes 64 MiB and a good part of a core, and nobody else waits for them.
    hashing: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(HASHES_MOST))
    # Those of browsers that have signed in before do not wait behind strangers.
    hashing_known: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))
    charts: Charts = field(default_factory=Charts)

    def http_port(self) -> int:
        """The port of HTTP that boards are told."""
        parts = urlsplit(self.public_url())
        return parts.port or (443 if parts.scheme == "https" else 80)

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

    def known_word(self, name: str) -> str:
        """What this browser shows of having signed in before under this name; "" of none."""
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
        """Of the path."""
        return int(self.request.path_params[name])

    def asked(self, name: str, default: str = "", most: int = 1024) -> str:
        """A word of the query string."""
        return self.request.query_params.get(name, default)[:most].replace("\0", "")

    def page(self, count: int | None, length: int) -> Page:
        """The one that is asked for, of `count` rows."""
        return page(count, whole(self.asked("page", "1")), length)

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


def _note(request: Request) -> tuple[str, bool]:
    """What the page before wanted to be said."""
    try:
        text, bad = json.loads(unquote(request.cookies.get(NOTE, "")))
        return str(text), bool(bad)
    except (ValueError, TypeError, RecursionError):
        return "", False


def whole(text: str) -> int:
    """A number that a form or an address says; 0 where it is none, or longer than any of ours."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
