"""Authorize HTTP requests from clients with a token, signed-in browsers and this machine.

A local request needs no token while no tokens and no users exist.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from sqlalchemy import select

from ..cloud_error import CloudError
from ..network_addresses import is_loopback
from ..store.database import Database
from ..store.models import SignIn, Token
from . import users
from .roles import OPERATOR, VIEWER, allows
from .users import digest

LOCAL = "local"  # a local requester, without a token or with the local one
OWNER = "owner"  # a client with the token in --token
COOKIE = "ivota"
SECURE_COOKIE = "__Host-ivota"  # over TLS: browsers then bind it to this host and path

_CSRF = "x-csrf-token"  # the header in which a page's script sends its form's token

KNOWN = "ivota.who"  # in a request's scope: the requester's name, once it is known

Guard = Callable[[Request], str]


@dataclass(frozen=True)
class Signed:
    """A signed-in browser, and the token that its forms must carry."""

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
    """Create a FastAPI dependency that returns the requester's name, or responds with 401 or 403.

    `needed` is the required role; by default VIEWER for methods that only read, and OPERATOR for
    the others. `local` is a token that only this machine's owner can read.
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
                    f"the token {found.name!r} has the role {found.role}, but this request needs "
                    f"{role}: ask an admin for a token",
                )
            return found.name
        if not given and (signed := signed_in(request, database)):
            return _by_browser(request, signed, role)
        if closed:
            raise HTTPException(
                401,
                "the token is missing or invalid: set IVOTA_TOKEN to a token of the cloud, or "
                "on the cloud's own machine to $(cat DATA/api.token), where DATA is its data "
                "directory",
            )
        _only_local(request)
        return LOCAL

    return check


def again(may: Guard, request: Request) -> str:
    """Authorize a long-running request again. Raises HTTPException."""
    request.scope.pop(KNOWN, None)
    return may(request)


def signed_in(request: Request, database: Database) -> Signed | None:
    """Return the user of the browser's cookie."""
    name = SECURE_COOKIE if request.url.scheme == "https" else COOKIE
    word = request.cookies.get(name, "")
    found = users.signed_in(database, word, time.time()) if word else None
    return Signed(found, users.csrf(word)) if found else None


def from_our_page(request: Request, signed: Signed, given: str) -> bool:
    """Check that a changing request comes from a page of the console."""
    right = hmac.compare_digest(given.encode(errors="replace"), signed.csrf.encode())
    return right and same_site(request)


def is_by_page(request: Request) -> bool:
    """Return whether a page's script sends this request, to show the answer to its reader."""
    return _CSRF in request.headers


def same_site(request: Request) -> bool:
    """Check the browser's Sec-Fetch-Site and Origin headers; requests without them pass."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    return origin is None or _netloc(origin) == request.headers.get("host", "")


def _by_browser(request: Request, signed: Signed, role: str) -> str:
    if not signed.may(role):
        raise HTTPException(
            403, f"{signed.name} has the role {signed.role}, but this request needs {role}"
        )
    if not _only_reads(request):
        if not from_our_page(request, signed, request.headers.get(_CSRF, "")):
            raise HTTPException(403, "X-CSRF-Token is missing or invalid: reload the page")
    return signed.name


def _only_reads(request: Request) -> bool:
    return request.method in ("GET", "HEAD")


def is_local(request: Request) -> bool:
    """Check that a request comes from this machine and is addressed to it."""
    # The peer's address alone would also allow other sites' scripts in this machine's browser,
    # DNS names that point to 127.0.0.1, and everything that a reverse proxy on this machine
    # forwards.
    origin = request.headers.get("origin")
    names = [request.client.host if request.client else "", _host(request.headers.get("host"))]
    if origin is not None:
        names.append(_host(_netloc(origin)))
    return all(is_loopback(name) for name in names)


def _only_local(request: Request) -> None:
    if not is_local(request):
        raise HTTPException(
            403,
            "without a token, the API accepts requests only on the machine that runs the cloud, "
            "at 127.0.0.1: for other machines, start the cloud with --token (or IVOTA_TOKEN)",
        )


def check_exposure(
    host: str, public_url: str | None, token: str | None, *, own_broker: bool
) -> list[str]:
    """Return warnings about listening on `host`; raise CloudError if it cannot work."""
    if is_loopback(host):
        return []
    if host in ("0.0.0.0", "::"):
        if public_url is None:
            raise CloudError(
                f"--host {host} listens on all interfaces: use --public-url http://ADDRESS:PORT "
                "to specify the address at which devices reach this machine"
            )
    elif token is None:
        raise CloudError(
            f"with --host {host}, the API needs a token: add --token, or listen on all interfaces "
            f"with --host 0.0.0.0 --public-url http://{host}:PORT"
        )
    if not own_broker:
        return []
    return [
        f"anyone who can reach {host} can use the MQTT broker: use it only on trusted networks"
    ]


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
