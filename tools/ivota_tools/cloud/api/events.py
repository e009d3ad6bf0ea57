"""The HTTP API of live events: every change of a device, as server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from sqlalchemy import select

from ..accounts.authorization import Guard, again
from ..mqtt.report_ingestion import WITH_TARGET
from ..sse_response import EventStream, Places
from ..store.database import Database, access, settled
from ..store.models import Device
from .device_schemas import DeviceOut, device_out
from .route_parameters import ERRORS, After, ErrorOut

EVENT_S = 0.2  # between checks for changed devices
CHECK_S = 10.0  # between checks of a watcher's permission


def routes(database: Database, *, streams: Places, may: Guard) -> APIRouter:
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses=ERRORS)

    @router.get("/events", response_class=StreamingResponse, responses={503: {"model": ErrorOut}})
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

    def changed(revision: int) -> tuple[int, Sequence[DeviceOut]]:
        query = (
            select(Device)
            .options(*WITH_TARGET)
            .where(Device.revision > revision)
            .order_by(Device.revision)
            .limit(1000)
        )
        with database.reading() as session:
            # Changes with lower numbers may still come between later ones.
            query = query.where(Device.revision <= settled(session))
            found = [device_out(device) for device in session.scalars(query)]
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
