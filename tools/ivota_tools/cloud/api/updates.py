"""The HTTP API of a device's updates: push, retry and cancel them, and list the attempts."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from fastapi import APIRouter, Depends, HTTPException
from sqlalchemy import select
from sqlalchemy.orm import Session

from ..accounts.authorization import Guard
from ..rollout import device_actions, group_report_intervals, wait_reason, watchdog_reset_count
from ..store import firmware_store
from ..store.database import Database
from ..store.models import Assignment, Failure, Report
from .device_lookup import device_by_id, find_device
from .device_schemas import DeviceOut, ReportOut, device_out, report_out
from .firmware_schemas import FirmwareOut
from .route_parameters import ERRORS, After, Number, Page
from .row_lookup import existing, rows_after
from .update_schemas import AttemptOut, PushIn, PushOut, WhyOut

STILL_TO_COME = ", and --new sets a target for a device that has not reported yet"


def _with_failures(session: Session, attempts: Sequence[Assignment]) -> list[AttemptOut]:
    of_these = Failure.assignment_id.in_([each.id for each in attempts])
    failures: defaultdict[int, list[Failure]] = defaultdict(list)
    for each in session.scalars(select(Failure).where(of_these).order_by(Failure.number)):
        failures[each.assignment_id].append(each)
    names = AttemptOut.model_fields.keys() - {"failures"}
    return [
        AttemptOut.model_validate(
            {name: getattr(each, name) for name in names} | {"failures": failures[each.id]}
        )
        for each in attempts
    ]


def routes(database: Database, *, wake: Callable[[], None], may: Guard) -> APIRouter:
    """Create the router; `wake` is called when a push may be due."""
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses=ERRORS)

    @router.post("/push")
    def post_push(order: PushIn, who: str = Depends(may)) -> PushOut:
        """Deploy firmware to a device, or retry the update after a failure."""
        if (order.version is None) == (order.firmware_id is None):
            raise HTTPException(422, "specify the firmware with either version or firmware_id")
        with database.writing() as session:
            device = find_device(session, order.device, new=order.new, otherwise=STILL_TO_COME)
            chosen = firmware_store.find(
                session, order.version, order.firmware_id, order.application, device.application
            )
            device_actions.push(session, device, chosen, who, order.include_mismatched)
            answer = PushOut(
                device=device_out(device),
                firmware=FirmwareOut.model_validate(chosen),
            )
        wake()
        return answer

    @router.get("/devices/{device_id}/why")
    def get_why(device_id: Number) -> WhyOut:
        """Explain why the device is waiting."""
        with database.reading() as session:
            device = device_by_id(session, device_id)
            resets, last_reset = watchdog_reset_count.of(session, device)
            interval = group_report_intervals.applying(session, device, time.time())
            return WhyOut(
                device=device.name,
                state=device_out(device).state,
                why=wait_reason.why(session, device, time.time()),
                watchdog_resets=resets,
                watchdog_reset_at=last_reset,
                group_interval_s=interval.seconds if interval else None,
                interval_group=interval.group if interval else None,
            )

    @router.get("/devices/{device_id}/attempts")
    def get_attempts(device_id: Number, after: After = 0, limit: Page = 1000) -> list[AttemptOut]:
        """List a device's update attempts, oldest first; `after` is the last id of the previous
        page.
        """
        with database.reading() as session:
            device_by_id(session, device_id)
            found = select(Assignment).where(Assignment.device_id == device_id)
            rows = rows_after(session, found, Assignment.id, after, limit)
            return _with_failures(session, rows)

    @router.get("/attempts/{attempt_id}/reports")
    def get_attempt_reports(attempt_id: Number) -> list[ReportOut]:
        with database.reading() as session:
            attempt = existing(session, Assignment, attempt_id, "attempt")
            # Filter by device, too: the reports have an index on that column.
            found = select(Report).where(
                Report.device_id == attempt.device_id, Report.assignment_id == attempt_id
            )
            rows = session.scalars(found.order_by(Report.id).limit(10_000))
            return [report_out(each) for each in rows]

    @router.post("/devices/{device_id}/retry")
    def post_retry(device_id: Number, who: str = Depends(may)) -> DeviceOut:
        """Retry the same target after a failure or a cancellation."""
        with database.writing() as session:
            device = device_by_id(session, device_id)
            device_actions.retry_device(session, device, time.time(), who)
            answer = device_out(device)
        wake()
        return answer

    @router.post("/devices/{device_id}/cancel")
    def post_cancel(device_id: Number, who: str = Depends(may)) -> DeviceOut:
        """Cancel the update; a device that is downloading may still install it."""
        with database.writing() as session:
            device = device_by_id(session, device_id)
            device_actions.cancel_device(session, device, time.time(), who)
            return device_out(device)

    return router
