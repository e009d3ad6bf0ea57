"""HTTP connections with deadlines for slow requests and for responses that nobody reads.

uvicorn limits only the idle time between two requests.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any

import uvicorn

from .connection_limit import Connection
from .header_case import CanonicalNames

_UPLOAD_PATH = re.compile(r"/api/v1/firmware|/api/v1/channels/[^/]+/files/[^/]+")
CONNECTION = "ivota.connection"  # in a request's scope: its BoundedProtocol


def is_upload_path(path: str) -> bool:
    """Return whether requests with a body for this path are uploads of firmware."""
    return _UPLOAD_PATH.fullmatch(path) is not None


@dataclass(frozen=True)
class Deadlines:
    """Deadlines in seconds. A board on the slowest link reads 48 KiB in `stalled_s`.

    head_s      to receive a request's head, from the connection or its first byte
    body_s      to receive a request's body, except uploads
    piece_s     between two pieces of an upload
    stalled_s   for the peer to read the contents of the connection's buffer
    """

    head_s: float = 20.0
    body_s: float = 30.0
    piece_s: float = 60.0
    stalled_s: float = 120.0


class BoundedProtocol(CanonicalNames):
    """A connection that removes itself from its table when it is closed.

    Only a known requester keeps its place in the table during a delay, an upload, or a response
    that is not read. Otherwise, strangers that do nothing could keep everybody out.
    """

    def __init__(self, held: Connection, deadlines: Deadlines, **options: Any) -> None:
        super().__init__(**options)
        self._held = held
        self._deadlines = deadlines
        self._head: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._entitled = self._delayed = False  # of the current request

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._held.cut = transport.abort
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unset_keepalive_if_required()
        self._got_head()
        self._unstall()
        self._held.leave()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        before = self.scope
        super().handle_events()
        if self.scope is not before:
            self._entitled = self._delayed = False
            self.scope[CONNECTION] = self  # type: ignore[literal-required]

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._asks_nothing():
            self._await_head()
        else:
            self._got_head()
            self._mark()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._mark()

    def entitle(self) -> None:
        """Note that the requester is known."""
        self._entitled = True
        self._mark()

    def delay(self) -> None:
        """Note that the response is delayed on purpose."""
        self._delayed = True
        self._mark()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._mark()
        self._unstall()
        self._stalled = self.loop.call_later(self._deadlines.stalled_s, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._mark()
        self._unstall()

    def _asks_nothing(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _mark(self) -> None:
        """Update whether the connection can be closed if the table is full."""
        if self._asks_nothing():
            waits = True
        elif self.cycle.more_body:
            waits = not (self._entitled and is_upload_path(self.scope["path"]))
        else:
            waits = not self._entitled and (self._delayed or self.flow.write_paused)
        if waits:
            self._held.wait()
        else:
            self._held.serve()

    def _await_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(self._deadlines.head_s, self.transport.abort)

    def _got_head(self) -> None:
        if self._head:
            self._head.cancel()
            self._head = None

    def _unstall(self) -> None:
        if self._stalled:
            self._stalled.cancel()
            self._stalled = None


class ClosingServer(uvicorn.Server):
    """A server whose connections are accepted by the tasks in `accepting`."""

    accepting: list[asyncio.Task[None]]

    async def shutdown(self, sockets: Any = None) -> None:
        for task in self.accepting:
            task.cancel()
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
