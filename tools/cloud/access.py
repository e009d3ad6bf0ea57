"""Who may use the HTTP API: the holder of the token, or, without one, this machine alone."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from fastapi import HTTPException, Request

from .errors import CloudError


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
