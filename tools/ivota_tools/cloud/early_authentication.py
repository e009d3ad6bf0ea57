"""Admit a request only after authentication, and with a body of limited size."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.exc import OperationalError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .accounts.authorization import KNOWN
from .accounts.token_guess_delay import WrongTries
from .health_probes import no_database
from .http_deadlines import CONNECTION, Deadlines, is_upload_path

BODY_MOST = 64 * 1024  # bytes, of every request but an upload
OPEN = ("/api/v1/openapi.json",)


@dataclass(frozen=True)
class Door:
    """`may` authorizes requests for paths that begin with `prefix`; it raises HTTPException.

    `tries` counts those that it rejects.
    """

    prefix: str
    may: Callable[[Request], str]
    tries: WrongTries


class Admission:
    """Middleware; the door of a request's path must authorize it."""

    def __init__(
        self, app: ASGIApp, doors: Sequence[Door], upload_most: int, deadlines: Deadlines
    ) -> None:
        self._app, self._doors = app, doors
        self._upload_most, self._deadlines = upload_most, deadlines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_upload = scope["method"] in ("POST", "PUT") and is_upload_path(scope["path"])
        body = _Body(receive, self._upload_most if is_upload else BODY_MOST, self._deadlines,
                     is_upload)  # fmt: skip
        path = scope["path"]
        door = next((each for each in self._doors if path.startswith(each.prefix)), None)
        try:
            if door and path not in OPEN:
                scope[KNOWN] = await run_in_threadpool(door.may, Request(scope))
                if connection := scope.get(CONNECTION):
                    connection.entitle()
                body.expect(Request(scope).headers.get("content-length", ""))
        except HTTPException as error:
            sent = Request(scope).headers.get("authorization")
            if door and error.status_code == 401 and sent:
                await self._slow_down(scope, door.tries)
            answer = JSONResponse({"detail": error.detail}, error.status_code, error.headers)
            await answer(scope, receive, send)
            return
        except OperationalError as error:
            answer = JSONResponse({"detail": no_database(error)}, 503)
            await answer(scope, receive, send)
            return
        await self._app(scope, body, send)

    async def _slow_down(self, scope: Scope, tries: WrongTries) -> None:
        address = scope["client"][0] if scope.get("client") else ""
        if connection := scope.get(CONNECTION):
            connection.delay()
        await asyncio.sleep(tries.wait_s(address))
        await run_in_threadpool(tries.wrong, address)


class _Body:
    """Receive a request body, up to a maximum size and time."""

    def __init__(self, receive: Receive, most: int, deadlines: Deadlines, is_upload: bool) -> None:
        self._receive, self._most, self._deadlines = receive, most, deadlines
        self._is_upload = is_upload
        self._size = 0
        self._ended = False
        self._until = asyncio.get_running_loop().time() + deadlines.body_s

    def expect(self, length: str) -> None:
        """Raise HTTPException if the announced size is too large. For uploads, the route checks
        the size, with a better error message.
        """
        if length.isdigit() and int(length[:18]) > self._most and not self._is_upload:
            raise self._too_large()

    async def __call__(self) -> Message:
        if self._ended:
            return await self._receive()
        left_s = self._until - asyncio.get_running_loop().time()
        limit_s = self._deadlines.piece_s if self._is_upload else max(left_s, 0)
        try:
            message = await asyncio.wait_for(self._receive(), limit_s)
        except (TimeoutError, asyncio.TimeoutError):
            self._ended = True
            raise HTTPException(408, "the request timed out") from None
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self._ended = not message.get("more_body", False)
            if self._size > self._most and not self._is_upload:
                self._ended = True
                raise self._too_large()
        else:
            self._ended = True
        return message

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the request is too large: the maximum is {self._most} bytes")
