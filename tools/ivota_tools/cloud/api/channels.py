"""The HTTP API of the channels that the cloud serves: show, mirror and fill them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from ...firmware.board_limits import CHANNEL_INDEX
from ..accounts.authorization import Guard
from ..channel import publication, signed_upload
from ..channel.channel_files import ServedChannel
from ..channel.channel_status import ChannelStatus, status
from ..store import firmware_store
from ..store.database import Database
from ..store.file_store import FileStore
from .channel_schemas import ChannelOut, EndIn, MissingOut, OfferIn, ReleaseOut
from .route_parameters import ERRORS, ErrorOut

Product = Annotated[str, PathParameter(max_length=64)]
INDEX_BODY = {
    "requestBody": {"required": True, "content": {"application/octet-stream": {}}},
}


def routes(
    database: Database,
    store: FileStore,
    channels: Mapping[str, ServedChannel],
    *,
    may: Guard,
    upload_most: int,
    public_url: Callable[[], str],
) -> APIRouter:
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses={
        **ERRORS, 507: {"model": ErrorOut},
    })  # fmt: skip

    def find(product: str) -> ServedChannel:
        if product not in channels:
            raise HTTPException(
                404,
                f"the cloud serves no channel of {product!r}: start it with "
                "--channel PRODUCT=FILE, where FILE is the channel's public key",
            )
        return channels[product]

    def out(channel: ServedChannel) -> ChannelOut:
        return channel_out(status(channel, public_url()))

    @router.get("/channels")
    def get_channels() -> list[ChannelOut]:
        """List the channels that the cloud serves, with what they offer."""
        return [out(each) for each in channels.values()]

    @router.get("/channels/{product}")
    def get_channel(product: Product) -> ChannelOut:
        return out(find(product))

    @router.post("/channels/{product}/missing", openapi_extra=INDEX_BODY)
    async def post_missing(product: Product, request: Request) -> MissingOut:
        """List the files that the cloud lacks for the channel.json in the request body. The cloud
        checks this index as if it were uploaded.
        """
        channel = find(product)
        data = await _index(request)
        return MissingOut(missing=await run_in_threadpool(signed_upload.missing, channel, data))

    @router.put("/channels/{product}/files/{name}", status_code=204, openapi_extra=INDEX_BODY)
    async def put_file(product: Product, name: str, request: Request) -> None:
        """Upload a firmware file or a delta that is signed with one of the channel's keys.

        The name is the file's MD5, followed by .bin.
        """
        channel = find(product)
        with firmware_store.Upload(channel.folder, upload_most) as upload:
            try:
                async for chunk in request.stream():
                    upload.write(chunk)
            except ClientDisconnect:
                raise HTTPException(400, "the upload was interrupted") from None
            await run_in_threadpool(signed_upload.store, channel, name, upload)

    @router.put("/channels/{product}/index", openapi_extra=INDEX_BODY)
    async def put_index(product: Product, request: Request, who: str = Depends(may)) -> ChannelOut:
        """Serve the channel.json in the request body, whose files must have been uploaded."""
        channel = find(product)
        data = await _index(request)
        await run_in_threadpool(signed_upload.accept, channel, database, data, who)
        return await run_in_threadpool(out, channel)

    @router.post("/channels/{product}/offer")
    def post_offer(product: Product, order: OfferIn, who: str = Depends(may)) -> ChannelOut:
        """Offer signed firmware from the cloud, with its deltas, to boards of the channel."""
        channel = find(product)
        publication.offer(
            channel, database, store, order.firmware_id, who, track=order.track,
            share=order.share, not_before=order.not_before, deltas=order.deltas,
        )  # fmt: skip
        return out(channel)

    @router.post("/channels/{product}/end")
    def post_end(product: Product, order: EndIn, who: str = Depends(may)) -> ChannelOut:
        """Stop offering a version. Boards that run it keep it."""
        channel = find(product)
        publication.end(channel, database, order.version, who, track=order.track)
        return out(channel)

    return router


def channel_out(found: ChannelStatus) -> ChannelOut:
    index = found.index
    return ChannelOut(
        product=found.product,
        url=found.url,
        fills=found.fills,
        keys=list(found.keys),
        serial=index.serial if index else None,
        expires=index.expires if index else None,
        tracks={
            track: [ReleaseOut.model_validate(each) for each in offered]
            for track, offered in (index.tracks if index else {}).items()
        },
        problem=found.problem,
    )


async def _index(request: Request) -> bytes:
    """Return the request's body, which is small."""
    data = b""
    try:
        async for chunk in request.stream():
            data += chunk
            if len(data) > CHANNEL_INDEX:
                raise HTTPException(
                    413,
                    f"the index is too large (the maximum is {CHANNEL_INDEX} bytes): upload "
                    "channel.json",
                )
    except ClientDisconnect:
        raise HTTPException(400, "the upload was interrupted") from None
    return data
