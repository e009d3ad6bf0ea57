"""Tell a page that its content has changed: server-sent events without content.

The page then fetches itself again and replaces the changed parts (static/console.js). A live page
therefore always shows what a reload would show, and only one place renders it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from sqlalchemy import func, select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..accounts import authorization
from ..accounts.roles import VIEWER
from ..sse_response import EventStream
from ..store.database import access, settled
from ..store.models import Audit, Device
from .page_guard import entered
from .page_visit import Setting, whole

LOOK_S = 0.5  # interval between checks for changes
CHECK_S = 10.0  # interval between checks that the browser is still signed in
QUIET_S = 15.0  # maximum silence: a page that hears nothing for longer knows that its link is dead


def routes(setting: Setting) -> list[BaseRoute]:
    async def live(request: Request) -> Response:
        visit = await run_in_threadpool(entered, setting, request, VIEWER, {})
        number = whole(request.query_params.get("device", "")) or None
        return EventStream(events(setting, request, number), setting.streams, visit.who)

    return [Route("/live", live)]


async def events(setting: Setting, request: Request, device: int | None) -> AsyncIterator[str]:
    def state() -> tuple[int, str]:
        """Return the revisions of access rights and data; each differs after a change."""
        with setting.database.reading() as session:
            may = access(session)
            last = session.scalar(select(func.max(Audit.id)))
            if device is not None:
                revision = session.scalar(select(Device.revision).where(Device.id == device))
            else:
                revision = settled(session)
        return may, f"{revision}-{last}-{setting.health()}"

    def signed_in() -> bool:
        return authorization.signed_in(request, setting.database) is not None

    may, last = await run_in_threadpool(state)
    said = checked = time.monotonic()
    yield "retry: 3000\n: changes follow\n\n"
    while True:
        await asyncio.sleep(LOOK_S)
        now = time.monotonic()
        now_may, found = await run_in_threadpool(state)
        if now_may != may or now - checked > CHECK_S:
            may, checked = now_may, now
            if not await run_in_threadpool(signed_in):
                yield "event: over\ndata: signed out\n\n"
                return
        if found != last:
            last, said = found, now
            yield "event: change\ndata: .\n\n"
        elif now - said > QUIET_S:
            said = now
            yield "event: quiet\ndata: .\n\n"
