"""The HTTP API of single devices: tags, secrets, what they wait for, what was tried."""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import APIRouter, Depends, HTTPException
from sqlalchemy import delete, select

from ..accounts import audit_log
from ..accounts.authorization import Guard
from ..mqtt import device_credentials
from ..rollout import campaign_actions, wait_reason
from ..rollout.assignment import touch
from ..store.database import Database
from ..store.models import Assignment, DeviceTag, Report
from . import fleet_schemas as fleet
from . import schemas
from .routes import ERRORS, Number, device_by_id


def routes(database: Database, *, wake: Callable[[], None], may: Guard) -> APIRouter:
    """`wake` is called when a push may be due."""
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses=ERRORS)

    @router.post("/devices/{device_id}/tags")
    def post_tags(
        device_id: Number, tags: fleet.TagsIn, who: str = Depends(may)
    ) -> schemas.DeviceOut:
        with database.writing() as session:
            device = device_by_id(session, device_id)
            now = ({each.tag for each in device.tags} | set(tags.add)) - set(tags.remove)
            session.execute(delete(DeviceTag).where(DeviceTag.device_id == device_id))
            session.add_all(DeviceTag(device_id=device_id, tag=tag) for tag in sorted(now))
            touch(session, device)
            audit_log.note(session, who, "device tag", device.name, tags=sorted(now))
            session.flush()
            session.refresh(device, ["tags"])
            return schemas.device_out(device)

    @router.put("/devices/{device_id}/secret")
    def put_secret(
        device_id: Number, given: fleet.SecretIn, who: str = Depends(may)
    ) -> schemas.DeviceOut:
        """What the device signs in with; another one, or null, cuts its connection."""
        with database.writing() as session:
            device = device_by_id(session, device_id)
            try:
                device_credentials.set_secret(session, device, given.secret)
            except device_credentials.SecretError as error:
                raise HTTPException(422, str(error)) from None
            what = "device secret" if given.secret else "device secret removed"
            audit_log.note(session, who, what, device.name)
            return schemas.device_out(device)

    @router.get("/devices/{device_id}/why")
    def get_why(device_id: Number) -> schemas.WhyOut:
        """What the device waits for."""
        with database.reading() as session:
            device = device_by_id(session, device_id)
            return schemas.WhyOut(
                device=device.name,
                state=schemas.device_out(device).state,
                why=wait_reason.why(session, device, time.time()),
            )

    @router.get("/devices/{device_id}/attempts")
    def get_attempts(device_id: Number) -> list[schemas.AttemptOut]:
        """Every target it was ever given, oldest first, and how each ended."""
        with database.reading() as session:
            device_by_id(session, device_id)
            found = select(Assignment).where(Assignment.device_id == device_id)
            rows = session.scalars(found.order_by(Assignment.id))
            return [schemas.AttemptOut.model_validate(each) for each in rows]

    @router.get("/attempts/{attempt_id}/reports")
    def get_attempt_reports(attempt_id: Number) -> list[schemas.ReportOut]:
        with database.reading() as session:
            attempt = session.get(Assignment, attempt_id)
            if attempt is None:
                raise HTTPException(404, f"there is no attempt with the id {attempt_id}")
            # By the device as well, for whose reports there is an index.
            found = select(Report).where(
                Report.device_id == attempt.device_id, Report.assignment_id == attempt_id
            )
            rows = session.scalars(found.order_by(Report.id).limit(10_000))
            return [schemas.report_out(each) for each in rows]

    @router.post("/devices/{device_id}/retry")
    def post_retry(device_id: Number, who: str = Depends(may)) -> schemas.DeviceOut:
        """The same target again, after a failure or a cancel."""
        with database.writing() as session:
            device = device_by_id(session, device_id)
            campaign_actions.retry_device(session, device, time.time(), who)
            answer = schemas.device_out(device)
        wake()
        return answer

    @router.post("/devices/{device_id}/cancel")
    def post_cancel(device_id: Number, who: str = Depends(may)) -> schemas.DeviceOut:
        """No push any more, also in mid-download."""
        with database.writing() as session:
            device = device_by_id(session, device_id)
            campaign_actions.cancel_device(session, device, time.time(), who)
            return schemas.device_out(device)

    return router
