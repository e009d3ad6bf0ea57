"""Count HTTP requests by route."""

from __future__ import annotations

import time
from collections.abc import Iterable

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .activity_counters import Measurements

NO_ROUTE = "none"  # rejected before a route was found, or no route matches


class Counted:
    """Middleware around all the others. `pages` are routes that do not name themselves in a
    request's scope, as those of the API do.
    """

    def __init__(
        self, app: ASGIApp, measurements: Measurements, pages: Iterable[BaseRoute] = ()
    ) -> None:
        self._app, self._measurements = app, measurements
        self._templates = {
            endpoint: str(getattr(each, "path", NO_ROUTE))
            for each in pages
            if (endpoint := getattr(each, "endpoint", None))
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Paths are endless, so only a route's template may be a label.
                self._measurements.request(
                    self._template(scope),
                    scope["method"],
                    message["status"],
                    time.monotonic() - began,
                )
            await send(message)

        await self._app(scope, receive, counting)

    def _template(self, scope: Scope) -> str:
        if route := scope.get("route"):
            return str(getattr(route, "path", NO_ROUTE))
        return self._templates.get(scope.get("endpoint"), NO_ROUTE)
