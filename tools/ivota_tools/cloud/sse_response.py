"""Send server-sent events, in a limited number of simultaneous streams."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

from starlette.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

FULL = "too many event streams are open: close some, or try again later"


class Places:
    """A pool of at most `most` streams, at most half of them for one name."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()

    def take(self, name: str) -> bool:
        """Take a place; return False if none is left."""
        if self._taken.total() >= self._most or self._taken[name] >= max(self._most // 2, 1):
            return False
        self._taken[name] += 1
        return True

    def give(self, name: str) -> None:
        self._taken[name] -= 1
        self._taken += Counter()  # removes names without a stream


class EventStream(StreamingResponse):
    """A stream that holds one of `places` while it is open; responds with 503 if none is left."""

    def __init__(self, events: AsyncIterator[str], places: Places, name: str) -> None:
        super().__init__(
            events,
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        self._places, self._name = places, name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._places.take(self._name):
            full = JSONResponse({"detail": FULL}, 503, {"Retry-After": "10"})
            await full(scope, receive, send)
            return
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._places.give(self._name)
