"""The HTTP API under `/api/v1`: devices, reports, firmware, pushes and live events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from sqlalchemy import Select, select
from sqlalchemy.orm import Session
from starlette.requests import ClientDisconnect

from ..accounts.authorization import Guard, again
from ..event_stream import EventStream, Places
from ..mqtt.messages import NAME_MOST
from ..mqtt.report_ingestion import WITH_TARGET
from ..rollout import failure_groups, operator_actions
from ..storage_probe import Checks
from ..store import ambiguous_device_names, firmware_store
from ..store.database import Database, access
from ..store.models import Counter, Device, Firmware, Report
from . import schemas

EVENT_S = 0.2  # between checks for changed devices
CHECK_S = 10.0  # between checks of a watcher's permission
PAGE_MOST = 10_000
ID_MOST = 2**31 - 1
REVISION_MOST = 2**62
STILL_TO_COME = ", and --new sets a target for a device that has not reported yet"

ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": schemas.ErrorOut} for code in (400, 401, 403, 404, 408, 409, 413, 422)
}

Number = Annotated[int, PathParameter(ge=1, le=ID_MOST)]
Page = Annotated[int, Query(ge=1, le=PAGE_MOST)]
After = Annotated[int, Query(ge=0, le=REVISION_MOST)]


def routes(
    database: Database,
    folder: Path,
    *,
    wake: Callable[[], None],
    health: Checks,
    may: Guard,
    upload_most: int,
    streams: Places,
) -> APIRouter:
    """Create the router; `wake` is called when a push is due."""
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses=ERRORS)

    @router.get("/health")
    def get_health() -> schemas.HealthOut:
        found = health()
        with database.reading() as session:
            counters = {row.name: row.value for row in session.scalars(select(Counter))}
        return schemas.HealthOut(
            ok=found.ok,
            problem=found.problem,
            mqtt_connected=found.connected,
            standby=found.standby,
            counters=counters,
        )

    @router.get("/devices")
    def get_devices(
        device: str | None = None,
        status: Literal["accepted", "pending", "retired"] | None = None,
        after: After = 0,
        limit: Page = PAGE_MOST,
    ) -> list[schemas.DeviceOut]:
        """List all devices, those with a status, or the one with this name; `after` is the last
        id of the previous page.
        """
        with database.reading() as session:
            if device is not None:
                return [schemas.device_out(find_device(session, device))]
            query = _devices().where(Device.id > after).order_by(Device.id).limit(limit)
            if status is not None:
                query = query.where(Device.status == status)
            return [schemas.device_out(found) for found in session.scalars(query)]

    @router.get("/devices/{device_id}")
    def get_device(device_id: int) -> schemas.DeviceOut:
        with database.reading() as session:
            return schemas.device_out(device_by_id(session, device_id))

    @router.get("/devices/{device_id}/reports")
    def get_reports(
        device_id: int, after: After = 0, limit: Page = 1000
    ) -> list[schemas.ReportOut]:
        """List a device's reports, oldest first; `after` is the last id of the previous page."""
        with database.reading() as session:
            device_by_id(session, device_id)
            query = select(Report).where(Report.device_id == device_id, Report.id > after)
            found = session.scalars(query.order_by(Report.id).limit(limit))
            return [schemas.report_out(report) for report in found]

    @router.get("/firmware")
    def get_firmware(after: After = 0, limit: Page = 1000) -> list[schemas.FirmwareOut]:
        """List the firmware and the patches; `after` is the last id of the previous page."""
        with database.reading() as session:
            query = select(Firmware).where(Firmware.id > min(after, ID_MOST))
            query = query.where(Firmware.deleted_at.is_(None))
            found = session.scalars(query.order_by(Firmware.id).limit(limit))
            return [schemas.FirmwareOut.model_validate(each) for each in found]

    @router.post(
        "/firmware",
        status_code=201,
        responses={code: {"model": schemas.ErrorOut} for code in (507,)},
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
    ) -> schemas.UploadOut:
        """Upload a firmware file as the request body; a bundle contains its version."""
        announced = request.headers.get("content-length", "")
        if announced.isdigit() and int(announced[:18]) > upload_most:
            raise firmware_store.too_large(upload_most)
        with firmware_store.Upload(folder, upload_most) as upload:
            try:
                async for chunk in request.stream():
                    upload.write(chunk)
            except ClientDisconnect:
                raise HTTPException(400, "the upload was interrupted") from None
            found, warnings = await run_in_threadpool(
                firmware_store.register, database, folder, upload, version, application, who,
                hardware,
            )  # fmt: skip
        return schemas.UploadOut(
            firmware=schemas.FirmwareOut.model_validate(found), warnings=warnings
        )

    @router.get("/firmware/{firmware_id}/failures")
    def get_failures(firmware_id: Number) -> list[schemas.FailureOut]:
        """List what a firmware failed of, over the whole fleet, most frequent first."""
        with database.reading() as session:
            found = failure_groups.groups(session, firmware_store.by_id(session, firmware_id))
            return [schemas.FailureOut(**each._asdict()) for each in found]

    @router.delete("/firmware/{firmware_id}", status_code=204)
    def delete_firmware(firmware_id: Number, who: str = Depends(may)) -> None:
        """Delete a firmware and its patches; 409 while a device or a campaign needs it."""
        with database.writing() as session:
            found = firmware_store.by_id(session, firmware_id)
            operator_actions.delete_firmware(session, folder, found, who)

    @router.post("/push")
    def post_push(order: schemas.PushIn, who: str = Depends(may)) -> schemas.PushOut:
        """Deploy a firmware to a device, or retry it after a failure."""
        if (order.version is None) == (order.firmware_id is None):
            raise HTTPException(422, "specify the firmware by either version or firmware_id")
        with database.writing() as session:
            device = find_device(session, order.device, new=order.new, otherwise=STILL_TO_COME)
            chosen = firmware_store.find(
                session, order.version, order.firmware_id, order.application, device.application
            )
            operator_actions.push(session, device, chosen, who, order.include_mismatched)
            answer = schemas.PushOut(
                device=schemas.device_out(device),
                firmware=schemas.FirmwareOut.model_validate(chosen),
            )
        wake()
        return answer

    @router.get(
        "/events", response_class=StreamingResponse, responses={503: {"model": schemas.ErrorOut}}
    )
    async def get_events(
        request: Request, after: After = 0, who: str = Depends(may)
    ) -> EventStream:
        """Stream server-sent events: the state of each device now, then every change.

        An event's id is the device's `revision`; `after` or the header Last-Event-ID resumes
        from there. The stream ends within a second if the client loses its permission.
        """
        last = request.headers.get("last-event-id", "")
        if last.isascii() and last.isdigit() and len(last) <= 18:
            after = int(last)
        return EventStream(_events(database, after, lambda: again(may, request)), streams, who)

    return router


async def _events(database: Database, after: int, check: Callable[[], str]) -> AsyncIterator[str]:
    """Yield events; `check` raises HTTPException when the client loses its permission."""

    def changed(revision: int) -> tuple[int, Sequence[schemas.DeviceOut]]:
        query = _devices().where(Device.revision > revision).order_by(Device.revision).limit(1000)
        with database.reading() as session:
            found = [schemas.device_out(device) for device in session.scalars(query)]
            return access(session), found

    silent = 0.0
    known = None
    checked = time.monotonic()
    yield ": devices follow\n\n"
    while True:
        now_known, devices = await run_in_threadpool(changed, after)
        if now_known != known or time.monotonic() - checked > CHECK_S:
            known, checked = now_known, time.monotonic()
            try:
                await run_in_threadpool(check)
            except HTTPException:
                return
        for device in devices:
            after = device.revision
            yield f"id: {after}\nevent: device\ndata: {device.model_dump_json()}\n\n"
        silent = 0.0 if devices else silent + EVENT_S
        if silent > 10:
            silent = 0.0
            yield ": still here\n\n"  # without this line, a client notices that its link is dead
        await asyncio.sleep(EVENT_S)


def _devices() -> Select[tuple[Device]]:
    return select(Device).options(*WITH_TARGET)


def device_by_id(session: Session, device_id: int) -> Device:
    device = session.get(Device, device_id) if 0 < device_id <= ID_MOST else None
    if device is None:
        raise HTTPException(404, f"device id {device_id} does not exist")
    return device


def refuse_same_identity(session: Session, device: Device) -> None:
    """Before a device gets a secret: nobody could tell it from another with the same client id."""
    if other := ambiguous_device_names.same_identity(session, device):
        raise HTTPException(
            409,
            f"{other.name} signs in with the same client id and has a secret: "
            "remove that secret first",
        )


def find_device(session: Session, name: str, new: bool = False, otherwise: str = "") -> Device:
    """Find a device by PRODUCT/NAME, or by a unique NAME; `new` creates a missing one.

    `otherwise` is appended to the error if there is none.
    """
    product_id, _, device_name = name.partition("/")
    query = select(Device).where(
        Device.product_id == product_id, Device.device_name == device_name
    )
    device = session.scalar(query)
    if device:
        return device
    found = session.scalars(select(Device).where(Device.device_name == name).limit(3)).all()
    if len(found) > 1:
        names = ", ".join(each.name for each in found)
        raise HTTPException(409, f"several devices are called {name!r}: use one of {names}")
    if found:
        return found[0]
    if not new:
        raise HTTPException(
            404,
            f"no device {name!r} has reported yet; list the known devices with `ivota devices`"
            + otherwise,
        )
    if not (0 < len(product_id) <= NAME_MOST and 0 < len(device_name) <= NAME_MOST):
        raise HTTPException(422, f"{name!r} is not PRODUCT/NAME")
    if any(c in "+#" for c in name) or not name.isprintable():
        raise HTTPException(422, f"{name!r} cannot be part of an MQTT topic")
    if ";" in name:
        raise HTTPException(
            422, f"{name!r} must not contain a semicolon: it separates fields in a sign-in"
        )
    if why := ambiguous_device_names.conflict(session, product_id, device_name):
        raise HTTPException(409, f"cannot add device {name!r}: {why}")
    device = Device(product_id=product_id, device_name=device_name)
    session.add(device)
    session.flush()
    return device
