"""Log each HTTP request, if the access log is turned on."""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..common.log_output import ACCESS, FIELDS
from .accounts.authorization import KNOWN

log = logging.getLogger(ACCESS)

PATH_MOST = 200  # characters
SECRETS = ("/set-up/", "/rabbitmq/")  # the rest of such a path is a key


class AccessLog:
    """Middleware. It omits query strings, because those of downloads contain signatures."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not log.isEnabledFor(logging.INFO):
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        status = size = 0

        async def watching(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)
            size += len(message.get("body", b""))

        try:
            await self._app(scope, receive, watching)
        finally:
            _write(scope, status, size, time.monotonic() - began)


def _write(scope: Scope, status: int, size: int, seconds: float) -> None:
    path = scope["path"]
    if path.startswith(SECRETS):
        path = f"/{path.split('/')[1]}/…"
    fields = {
        "client": scope["client"][0] if scope.get("client") else "local",
        "who": scope.get(KNOWN),
        "method": scope["method"],
        "path": path[:PATH_MOST],
        "status": status,  # 0: the client left before the response
        "bytes": size,
        "seconds": round(seconds, 4),
    }
    log.info(
        "%s %s %d, %d bytes in %.3f s, from %s%s",
        fields["method"],
        fields["path"],
        status,
        size,
        seconds,
        fields["client"],
        f" by {fields['who']}" if fields["who"] else "",
        extra={FIELDS: fields},
    )
