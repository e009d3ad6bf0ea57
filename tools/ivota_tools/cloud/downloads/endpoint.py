"""Serve firmware to devices: `GET` and `HEAD /files/{id}` with ranges and pre-signed URLs.

Responses always have a Content-Length and are never chunked or compressed: boards have no code for
either.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from ..http_deadlines import CONNECTION
from ..store.database import Database
from ..store.file_store import FileStore
from ..store.models import Firmware
from . import http_range, signed_urls

log = logging.getLogger("ivota.cloud")

CHUNK = 65536  # bytes
ASKED_S = 5.0  # minimum time between two records of a request
RETRY_S = 10  # seconds
SEND_S = 120.0  # a peer that reads nothing for this long is gone


class FileSlice(Response):
    """Send a part of a file, with one chunk in memory at a time; close `copies` afterwards."""

    def __init__(
        self,
        path: Path,
        part: http_range.Slice,
        headers: Mapping[str, str],
        copies: contextlib.ExitStack,
        entitled: bool = True,
    ) -> None:
        super().__init__(status_code=206 if part.partial else 200, headers=headers)
        self.headers["Content-Length"] = str(part.length)
        self.headers["Content-Type"] = "application/octet-stream"
        self._path, self._part, self._copies = path, part, copies
        self._entitled = entitled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._copies:
            await self._send(scope, receive, send)

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._entitled and (connection := scope.get(CONNECTION)):
            connection.entitle()
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        gone = asyncio.ensure_future(_until_gone(receive))
        left = self._part.length
        try:
            # Each read is one chunk, mostly from the page cache: a thread would cost more.
            with self._path.open("rb") as file:
                file.seek(self._part.start)
                while left and not gone.done():
                    data = file.read(min(CHUNK, left))
                    if not data:
                        raise RuntimeError(f"{self._path} is shorter than it was")
                    left -= len(data)
                    message = {"type": "http.response.body", "body": data, "more_body": left > 0}
                    await asyncio.wait_for(send(message), SEND_S)
        except (TimeoutError, asyncio.TimeoutError):
            log.info("closed a download that made no progress for %.0f s", SEND_S)
        finally:
            gone.cancel()


async def _until_gone(receive: Receive) -> None:
    """Wait until the peer closes: data sent afterwards is lost without an error."""
    while (await receive())["type"] != "http.disconnect":
        pass


def routes(database: Database, store: FileStore, secret: bytes) -> APIRouter:
    router = APIRouter()
    # A firmware never changes, and a download in pieces requests it hundreds of times.
    known: dict[int, Firmware] = {}

    def look_up(number: int) -> Firmware | None:
        with database.reading() as session:
            firmware = session.get(Firmware, number)
        if firmware is not None:
            known[number] = firmware
        return firmware

    noted: dict[int, float] = {}

    def note_asked(number: int) -> None:
        """Record a request in the database, but not every request of the same download."""
        with contextlib.suppress(SQLAlchemyError), database.writing() as session:
            session.execute(
                update(Firmware).where(Firmware.id == number).values(asked_at=time.time())
            )

    async def find(firmware_id: str, expires: str, sign: str) -> Firmware | Response:
        number = int(firmware_id) if firmware_id.isascii() and firmware_id.isdigit() else -1
        if not signed_urls.is_valid(secret, number, expires, sign, time.time()):
            return PlainTextResponse("the URL's signature has expired or is invalid\n", 403)
        firmware = known.get(number) or await run_in_threadpool(look_up, number)
        if firmware is None:
            return PlainTextResponse("this firmware no longer exists\n", 404)
        return firmware

    @router.api_route("/files/{firmware_id}", methods=["GET", "HEAD"], include_in_schema=False)
    async def download(
        request: Request, firmware_id: str, expires: str = "", sign: str = ""
    ) -> Response:
        firmware = await find(firmware_id[:18], expires, sign)
        if isinstance(firmware, Response):
            return firmware
        if time.monotonic() - noted.get(firmware.id, float("-inf")) > ASKED_S:
            noted[firmware.id] = time.monotonic()
            await run_in_threadpool(note_asked, firmware.id)
        return await send_part(request, store, firmware)

    return router


async def send_part(request: Request, store: FileStore, firmware: Firmware) -> Response:
    """Respond with the part of a firmware that the request asks for; the caller authorizes it."""
    # The MD5 is also the ETag of an object store, so a download can resume there.
    # Downloads that began with an older version of the cloud have the SHA-256.
    etags = [f'"{firmware.md5}"', f'"{firmware.sha256}"']
    asked = request.headers.get("if-range", etags[0])
    headers = {
        "ETag": asked if asked in etags else etags[0],
        "Cache-Control": "private, no-transform",
    }
    copies = contextlib.ExitStack()
    try:
        path = await run_in_threadpool(copies.enter_context, store.local(firmware.sha256))
    except FileNotFoundError:
        return PlainTextResponse("this firmware no longer exists\n", 404)
    except OSError as error:
        log.error("cannot serve firmware %s: %s", firmware.version, error)
        again = {"Retry-After": f"{RETRY_S}"}
        return PlainTextResponse("the firmware cannot be read at the moment\n", 503, again)
    return send_file(request, path, firmware.size, headers, copies)


def send_file(
    request: Request,
    path: Path,
    size: int,
    headers: dict[str, str],
    copies: contextlib.ExitStack | None = None,
    *,
    entitled: bool = True,
) -> Response:
    """Respond with the part of a file of `size` bytes that the request asks for.

    `headers` must have an ETag. `copies` is closed when the file has been sent. Without
    `entitled`, the connection may be closed in favour of others if the peer does not read.
    """
    copies = copies or contextlib.ExitStack()
    headers = {**headers, "Accept-Ranges": "bytes"}
    header = request.headers.get("range")
    if request.headers.get("if-range", headers["ETag"]) != headers["ETag"]:
        header = None
    part = http_range.choose(header, size)
    if part is None:
        copies.close()
        headers["Content-Range"] = f"bytes */{size}"
        return PlainTextResponse("the range is outside the file\n", 416, headers)
    if part.partial:
        end = part.start + part.length - 1
        headers["Content-Range"] = f"bytes {part.start}-{end}/{size}"
    return FileSlice(path, part, headers, copies, entitled)
