"""Serve channels to boards: `GET` and `HEAD /channel/PRODUCT/…`, for everybody.

A channel is public: its signatures protect it, not its address.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response

from ...channel.index import NAME, ChannelError
from ..downloads.endpoint import send_file
from ..store.database import Database
from . import publication
from .channel_files import PREFIX, ServedChannel

INDEX_AGE = "public, max-age=60"
FILE_AGE = "public, max-age=31536000, immutable, no-transform"


def routes(database: Database, channels: Mapping[str, ServedChannel]) -> APIRouter:
    router = APIRouter()

    @router.api_route(
        PREFIX + "{product}/{name}", methods=["GET", "HEAD"], include_in_schema=False
    )
    async def download(request: Request, product: str, name: str) -> Response:
        channel = channels.get(product)
        if channel is None:
            return PlainTextResponse("the cloud serves no channel of this product\n", 404)
        if name == NAME:
            return await run_in_threadpool(_index, request, channel, database)
        path = channel.path(name)
        if path is None or not path.is_file():
            return PlainTextResponse("this file is not in the channel\n", 404)
        etag = f'"{path.stem}"'  # the MD5 of its contents
        headers = {"ETag": etag, "Cache-Control": FILE_AGE}
        if _is_known(request, etag):
            return Response(status_code=304, headers=headers)
        return send_file(request, path, path.stat().st_size, headers, entitled=False)

    return router


def _index(request: Request, channel: ServedChannel, database: Database) -> Response:
    try:
        served = publication.current(channel, database)
    except ChannelError as error:
        return PlainTextResponse(f"{error}\n", 503)
    if served is None:
        return PlainTextResponse("nothing has been published in this channel yet\n", 404)
    # A board whose clock was never set would not notice.
    if served.index.expires is not None and served.index.expires <= time.time():
        return PlainTextResponse("the channel's index has expired\n", 503)
    headers = {"ETag": served.etag, "Cache-Control": INDEX_AGE}
    if _is_known(request, served.etag):
        return Response(status_code=304, headers=headers)
    return Response(served.data, headers=headers, media_type="application/json")


def _is_known(request: Request, etag: str) -> bool:
    """Return whether If-None-Match names the ETag (RFC 9110, section 13.1.2)."""
    given = request.headers.get("if-none-match", "")
    known = {each.strip().removeprefix("W/") for each in given.split(",")}
    return etag in known or "*" in known
