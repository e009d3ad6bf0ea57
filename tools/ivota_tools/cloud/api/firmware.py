"""The HTTP API of firmware: upload, list and delete it, and list its failures."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import select
from starlette.requests import ClientDisconnect

from ..accounts.authorization import Guard
from ..channel.channel_files import ServedChannel
from ..rollout import failure_groups, firmware_removal
from ..store import file_sweep, firmware_store
from ..store.database import Database
from ..store.file_store import FileStore
from ..store.models import Firmware
from .firmware_schemas import FailureOut, FirmwareOut, UploadOut
from .route_parameters import ERRORS, After, ErrorOut, Number, Page
from .row_lookup import rows_after


def routes(
    database: Database,
    store: FileStore,
    *,
    upload_most: int,
    may: Guard,
    channels: Collection[ServedChannel] = (),
) -> APIRouter:
    """Create the router; `upload_most` is a number of bytes, `channels` keep their firmware."""
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses=ERRORS)

    @router.get("/firmware")
    def get_firmware(after: After = 0, limit: Page = 1000) -> list[FirmwareOut]:
        """List the firmware and the patches; `after` is the last id of the previous page."""
        with database.reading() as session:
            query = select(Firmware).where(Firmware.deleted_at.is_(None))
            found = rows_after(session, query, Firmware.id, after, limit)
            return [FirmwareOut.model_validate(each) for each in found]

    @router.post(
        "/firmware",
        status_code=201,
        responses={code: {"model": ErrorOut} for code in (507,)},
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/octet-stream": {}}}
        },
    )
    async def post_firmware(
        request: Request,
        who: str = Depends(may),
        version: str | None = None,
        application: str | None = None,
        hardware: str | None = None,
    ) -> UploadOut:
        """Upload a firmware file as the request body; a bundle contains its version."""
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced[:18]) > upload_most:
            raise firmware_store.too_large(upload_most)
        with firmware_store.Upload(store.scratch, upload_most) as upload:
            try:
                async for chunk in request.stream():
                    upload.write(chunk)
            except ClientDisconnect:
                raise HTTPException(400, "the upload was interrupted") from None
            found, warnings = await run_in_threadpool(
                firmware_store.register, database, store, upload, version, application, who,
                hardware,
            )  # fmt: skip
        return UploadOut(firmware=FirmwareOut.model_validate(found), warnings=warnings)

    @router.get("/firmware/{firmware_id}/failures")
    def get_failures(firmware_id: Number) -> list[FailureOut]:
        """List the failures of this firmware in the whole fleet, most frequent first."""
        with database.reading() as session:
            found = failure_groups.groups(session, firmware_store.by_id(session, firmware_id))
            return [FailureOut(**each._asdict()) for each in found]

    @router.delete("/firmware/{firmware_id}", status_code=204)
    def delete_firmware(firmware_id: Number, who: str = Depends(may)) -> None:
        """Delete this firmware and its patches; 409 while a device or a campaign needs it."""
        with database.writing() as session:
            found = firmware_store.by_id(session, firmware_id)
            firmware_removal.delete_firmware(session, found, who, channels)
        file_sweep.sweep(database, store)

    return router
