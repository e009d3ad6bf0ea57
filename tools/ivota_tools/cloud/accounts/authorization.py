"""Who may use the HTTP API: the holder of a token, a browser that is signed in, or this machine.

This machine without either only as long as there are no tokens and no users.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from sqlalchemy import select

from ..addresses import is_loopback
from ..cloud_error import CloudError
from ..store.database import Database
from ..store.models import SignIn, Token
from . import users
from .roles import OPERATOR, VIEWER, allows
from .users import digest

LOCAL = "local"  # who asks from this machine, without a token or with the one in the data folder
OWNER = "owner"  # who has the token that the cloud was started with
COOKIE = "ivota"
SECURE_COOKIE = "__Host-ivota"  # over TLS, where browsers hold it to this host and path

KNOWN = "ivota.who"  # in a request's scope: who asks, once that was looked up

Guard = Callable[[Request], str]


@dataclass(frozen=True)
class Signed:
    """A browser that is signed in, and what a form of it must carry."""

    sign_in: SignIn
    csrf: str

    @property
    def name(self) -> str:
        return self.sign_in.user.name

    @property
    def role(self) -> str:
        return self.sign_in.user.role

    def may(self, role: str) -> bool:
        return allows(self.role, role)


def guard(
    token: str | None, database: Database, needed: str | None = None, local: str | None = None
) -> Guard:
    """A FastAPI dependency that gives who asks, or answers 401 or 403.

    `needed` is the role that is asked for; by default the method says it: what only reads needs
    VIEWER, the rest OPERATOR. `local` is a token that only this machine's owner can read.
    """

    def check(request: Request) -> str:
        if needed is None and (known := request.scope.get(KNOWN)):
            return str(known)
        role = needed or (VIEWER if _only_reads(request) else OPERATOR)
        _, _, given = request.headers.get("authorization", "").partition(" ")
        for word, name in ((token, OWNER), (local, LOCAL)):
            if word is not None and hmac.compare_digest(given.encode(), word.encode()):
                return name
        with database.reading() as session:
            found = session.scalar(select(Token).where(Token.sha256 == digest(given)))
            closed = (
                token is not None
                or session.scalar(select(Token.id).limit(1)) is not None
                or users.any_user(session)
            )
        if found:
            if not allows(found.role, role):
                raise HTTPException(
                    403,
                    f"the token {found.name!r} is for {found.role}, this needs {role}: an admin "
                    "gives you one",
                )
            return found.name
        if not given and (signed := signed_in(request, database)):
            return _by_browser(request, signed, role)
        if closed:
            raise HTTPException(
                401, "the token is missing or wrong: set IVOTA_TOKEN to the cloud's token"
            )
        _only_local(request)
        return LOCAL

    return check


def again(may: Guard, request: Request) -> str:
    """Asked anew, of a request that lasts. Raises HTTPException."""
    request.scope.pop(KNOWN, None)
    return may(request)


def signed_in(request: Request, database: Database) -> Signed | None:
    """Who the browser's cookie belongs to."""
    name = SECURE_COOKIE if request.url.scheme == "https" else COOKIE
    word = request.cookies.get(name, "")
    found = users.signed_in(database, word, time.time()) if word else None
    return Signed(found, users.csrf(word)) if found else None


def from_our_page(request: Request, signed: Signed, given: str) -> bool:
    """Whether a request that changes something comes from a page that we have made."""
    right = hmac.compare_digest(given.encode(errors="replace"), signed.csrf.encode())
    return right and same_site(request)


def same_site(request: Request) -> bool:
    """What browsers say of where a request comes from; those that say nothing are let pass."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    return origin is None or _netloc(origin) == request.headers.get("host", "")


def _by_browser(request: Request, signed: Signed, role: str) -> str:
    if not signed.may(role):
        raise HTTPException(403, f"{signed.name} is {signed.role}, this needs {role}")
    if not _only_reads(request):
        if not from_our_page(request, signed, request.headers.get("x-csrf-token", "")):
            raise HTTPException(403, "X-CSRF-Token is missing or wrong: load the page again")
    return signed.name


def _only_reads(request: Request) -> bool:
    return request.method in ("GET", "HEAD")


def is_local(request: Request) -> bool:
    """Whether it comes from this machine and was meant for it."""
    # The peer's address alone would also let in a page in this machine's browser, by another
    # site's script or by a name that was pointed at 127.0.0.1, and whatever a reverse proxy
    # on this machine passes on.
    origin = request.headers.get("origin")
    names = [request.client.host if request.client else "", _host(request.headers.get("host"))]
    if origin is not None:
        names.append(_host(_netloc(origin)))
    return all(is_loopback(name) for name in names)


def _only_local(request: Request) -> None:
    if not is_local(request):
        raise HTTPException(
            403,
            "without a token the API answers this machine only, at 127.0.0.1: start the cloud "
            "with --token (or IVOTA_TOKEN) to use it from elsewhere",
        )


def check_exposure(
    host: str, public_url: str | None, token: str | None, *, own_broker: bool
) -> list[str]:
    """Warnings about what listening on `host` means; CloudError where it could not work."""
    if is_loopback(host):
        return []
    if host in ("0.0.0.0", "::"):
        if public_url is None:
            raise CloudError(
                f"--host {host} listens everywhere; say under which address devices reach this "
                "machine: --public-url http://ADDRESS:PORT"
            )
    elif token is None:
        raise CloudError(
            f"on {host} alone nobody may use the API without a token: add --token, or listen on "
            f"--host 0.0.0.0 with --public-url http://{host}:PORT"
        )
    if not own_broker:
        return []
    return [f"whoever reaches {host} may use the MQTT broker: for networks that you trust"]


def _netloc(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def _host(header: str | None) -> str:
    try:
        return urlsplit(f"//{header or ''}").hostname or ""
    except ValueError:
        return ""
