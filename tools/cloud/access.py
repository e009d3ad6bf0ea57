"""Who may use the HTTP API: the holder of a token, or, without any, this machine alone."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from sqlalchemy import select

from .database import Database
from .errors import CloudError
from .models import Token

LOCAL = "local"  # who asks without a token, from this machine
OWNER = "owner"  # who has the token that the cloud was started with
READ, OPERATE, ADMIN = "read", "operate", "admin"
ROLES = (READ, OPERATE, ADMIN)

Guard = Callable[[Request], str]


def guard(token: str | None, database: Database, needed: str | None = None) -> Guard:
    """A FastAPI dependency that gives who asks, or answers 401 or 403.

    `needed` is the role that is asked for; by default the method says it: what only reads needs
    READ, the rest OPERATE.
    """

    def check(request: Request) -> str:
        _, _, given = request.headers.get("authorization", "").partition(" ")
        if token is not None and hmac.compare_digest(given.encode(), token.encode()):
            return OWNER
        with database.reading() as session:
            found = session.scalar(select(Token).where(Token.sha256 == digest(given)))
            closed = token is not None or session.scalar(select(Token.id).limit(1)) is not None
        if found:
            role = needed or (READ if request.method in ("GET", "HEAD") else OPERATE)
            if ROLES.index(found.role) < ROLES.index(role):
                raise HTTPException(
                    403, f"the token {found.name!r} is for {found.role}, this needs {role}"
                )
            return found.name
        if closed:
            raise HTTPException(
                401, "the token is missing or wrong: set IVOTA_TOKEN to the cloud's token"
            )
        _only_local(request)
        return LOCAL

    return check


def digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def new_token() -> str:
    return f"ivota_{secrets.token_urlsafe(24)}"


def _only_local(request: Request) -> None:
    # The peer's address alone would also let in a page in this machine's browser, by another
    # site's script or by a name that was pointed at 127.0.0.1, and whatever a reverse proxy
    # on this machine passes on.
    origin = request.headers.get("origin")
    names = [request.client.host if request.client else "", _host(request.headers.get("host"))]
    if origin is not None:
        names.append(urlsplit(origin).hostname or "")
    if not all(_is_loopback(name) for name in names):
        raise HTTPException(
            403,
            "without a token the API answers this machine only, at 127.0.0.1: start the cloud "
            "with --token (or IVOTA_TOKEN) to use it from elsewhere",
        )


def check_exposure(
    host: str, public_url: str | None, token: str | None, *, own_broker: bool
) -> list[str]:
    """Warnings about what listening on `host` means; CloudError where it could not work."""
    if _is_loopback(host):
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


def _host(header: str | None) -> str:
    try:
        return urlsplit(f"//{header or ''}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
