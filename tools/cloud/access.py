"""Who may use the HTTP API: the holder of the token, or, without one, this machine alone."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from fastapi import HTTPException, Request


def guard(token: str | None) -> Callable[[Request], None]:
    """A FastAPI dependency that lets a request pass or answers 401 or 403."""

    def check(request: Request) -> None:
        if token is not None:
            _, _, given = request.headers.get("authorization", "").partition(" ")
            if not hmac.compare_digest(given.encode(), token.encode()):
                raise HTTPException(
                    401, "the token is missing or wrong: set IVOTA_TOKEN to the cloud's token"
                )
            return
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

    return check


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
