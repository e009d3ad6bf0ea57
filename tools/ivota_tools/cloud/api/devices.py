"""The HTTP API of single devices: tags, secrets, status and attempts."""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import APIRouter, Depends, HTTPException
from sqlalchemy import select

from ..accounts import audit_log
from ..accounts.authorization import Guard
from ..mqtt import device_sign_in
from ..rollout import campaign_actions, operator_actions, wait_reason
from ..store.database import Database
from ..store.models import Assignment, Report
from . import fleet_schemas as fleet
from . import schemas
from .routes import (
    ERRORS,
    ID_MOST,
    After,
    Number,
    Page,
    device_by_id,
    refuse_same_identity,
)


def routes(database: Database, *, wake: Callable[[], None], may: Guard) -> APIRouter:
    """Create the router; `wake` is called when a push may be due."""
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses=ERRORS)

    @router.post("/devices/{device_id}/tags")
    def post_tags(
        device_id: Number, tags: fleet.TagsIn, who: str = Depends(may)
    ) -> schemas.DeviceOut:
        with database.writing() as session:
            device = device_by_id(session, device_id)
            now = ({each.tag for each in device.tags} | set(tags.add)) - set(tags.remove)
            operator_actions.set_tags(session, device, now, who)
            return schemas.device_out(device)

    @router.patch("/devices/{device_id}")
    def patch_device(
        device_id: Number, given: fleet.KindIn, who: str = Depends(may)
    ) -> schemas.DeviceOut:
        """Set the device's application and hardware."""
        with database.writing() as session:
            device = device_by_id(session, device_id)
            operator_actions.set_kind(session, device, given.application, given.hardware, who)
            return schemas.device_out(device)

    @router.put("/devices/{device_id}/secret")
    def put_secret(
        device_id: Number, given: fleet.SecretIn, who: str = Depends(may)
    ) -> schemas.DeviceOut:
        """Set the secret that the device signs in with; a change closes its connection."""
        with database.writing() as session:
            device = device_by_id(session, device_id)
            refuse_same_identity(session, device)
            device_sign_in.set_secret(session, device, given.secret)
            audit_log.note(session, who, "device secret", device.name)
            return schemas.device_out(device)

    @router.delete("/devices/{device_id}/secret")
    def delete_secret(device_id: Number, who: str = Depends(may)) -> schemas.DeviceOut:
        """Remove the device's secret: with --sign-in, the device cannot sign in any more."""
        with database.writing() as session:
            device = device_by_id(session, device_id)
            device_sign_in.set_secret(session, device, None)
            audit_log.note(session, who, "device secret removed", device.name)
            return schemas.device_out(device)

    @router.post("/devices/{device_id}/accept")
    def post_accept(device_id: Number, who: str = Depends(may)) -> schemas.DeviceOut:
        """Accept a pending or retired device into the fleet."""
        with database.writing() as session:
            device = device_by_id(session, device_id)
            operator_actions.accept_device(session, device, who)
            return schemas.device_out(device)

    @router.post("/devices/{device_id}/retire")
    def post_retire(device_id: Number, who: str = Depends(may)) -> schemas.DeviceOut:
        """Stop a device's updates and block its sign-in; keep its history."""
        with database.writing() as session:
            device = device_by_id(session, device_id)
            operator_actions.retire_device(session, device, who)
            return schemas.device_out(device)

    @router.delete("/devices/{device_id}", status_code=204)
    def delete_device(device_id: Number, who: str = Depends(may)) -> None:
        """Permanently delete a device and its entire history."""
        try:
            operator_actions.delete_device(database, device_id, who)
        except LookupError:
            raise HTTPException(404, f"device id {device_id} does not exist") from None

    @router.post("/pending/accept")
    def post_accept_pending(who: str = Depends(may)) -> fleet.AcceptOut:
        """Accept all pending devices."""
        with database.writing() as session:
            return fleet.AcceptOut(devices=operator_actions.accept_pending(session, who))

    @router.get("/devices/{device_id}/why")
    def get_why(device_id: Number) -> schemas.WhyOut:
        """Explain why the device is waiting."""
        with database.reading() as session:
            device = device_by_id(session, device_id)
            return schemas.WhyOut(
                device=device.name,
                state=schemas.device_out(device).state,
                why=wait_reason.why(session, device, time.time()),
            )

    @router.get("/devices/{device_id}/attempts")
    def get_attempts(
        device_id: Number, after: After = 0, limit: Page = 1000
    ) -> list[schemas.AttemptOut]:
        """List a device's update attempts, oldest first; `after` is the last id of the previous
        page.
        """
        with database.reading() as session:
            device_by_id(session, device_id)
            found = select(Assignment).where(
                Assignment.device_id == device_id, Assignment.id > min(after, ID_MOST)
            )
            rows = session.scalars(found.order_by(Assignment.id).limit(limit))
            return [schemas.AttemptOut.model_validate(each) for each in rows]

    @router.get("/attempts/{attempt_id}/reports")
    def get_attempt_reports(attempt_id: Number) -> list[schemas.ReportOut]:
        with database.reading() as session:
            attempt = session.get(Assignment, attempt_id)
            if attempt is None:
                raise HTTPException(404, f"attempt id {attempt_id} does not exist")
            # Filter by device, too: the reports have an index on that column.
            found = select(Report).where(
                Report.device_id == attempt.device_id, Report.assignment_id == attempt_id
            )
            rows = session.scalars(found.order_by(Report.id).limit(10_000))
            return [schemas.report_out(each) for each in rows]

    @router.post("/devices/{device_id}/retry")
    def post_retry(device_id: Number, who: str = Depends(may)) -> schemas.DeviceOut:
        """Retry the same target after a failure or a cancellation."""
        with database.writing() as session:
            device = device_by_id(session, device_id)
            campaign_actions.retry_device(session, device, time.time(), who)
            answer = schemas.device_out(device)
        wake()
        return answer

    @router.post("/devices/{device_id}/cancel")
    def post_cancel(device_id: Number, who: str = Depends(may)) -> schemas.DeviceOut:
        """Cancel the device's update, even mid-download."""
        with database.writing() as session:
            device = device_by_id(session, device_id)
            campaign_actions.cancel_device(session, device, time.time(), who)
            return schemas.device_out(device)

    return router
