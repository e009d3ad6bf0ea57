"""Server-sent events, of which there may only be so many at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator

from starlette.responses import JSONResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

FULL = "too many streams of events are open: close some, or try again later"


class Places:
    """How many streams may last at a time: `most`, and half of them for one name."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()

    def take(self, name: str) -> bool:
        """False where none is left."""
        if self._taken.total() >= self._most or self._taken[name] >= max(self._most // 2, 1):
            return False
        self._taken[name] += 1
        return True

    def give(self, name: str) -> None:
        self._taken[name] -= 1
        self._taken += Counter()  # forgets names without any


class EventStream(StreamingResponse):
    """Takes one of `places` for as long as it lasts; answers 503 where none is left."""

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
