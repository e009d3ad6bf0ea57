"""The HTTP API of devices: list, tag, accept, retire and delete them, and set their properties."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Depends, HTTPException
from sqlalchemy import select

from ..accounts import audit_log
from ..accounts.authorization import Guard
from ..mqtt import device_sign_in
from ..mqtt.report_ingestion import WITH_TARGET
from ..rollout import device_actions
from ..store.database import Database
from ..store.models import Device, Report
from .device_lookup import device_by_id, find_device, refuse_same_identity
from .device_schemas import (
    DeviceOut,
    KindIn,
    ReportOut,
    SecretIn,
    TagsIn,
    device_out,
    report_out,
)
from .route_parameters import ERRORS, PAGE_MOST, After, Number, Page


def routes(database: Database, *, may: Guard) -> APIRouter:
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses=ERRORS)

    @router.get("/devices")
    def get_devices(
        device: str | None = None,
        status: Literal["accepted", "pending", "retired"] | None = None,
        after: After = 0,
        limit: Page = PAGE_MOST,
    ) -> list[DeviceOut]:
        """List all devices, those with a status, or the one with this name; `after` is the last
        id of the previous page.
        """
        with database.reading() as session:
            if device is not None:
                return [device_out(find_device(session, device))]
            query = (
                select(Device)
                .options(*WITH_TARGET)
                .where(Device.id > after)
                .order_by(Device.id)
                .limit(limit)
            )
            if status is not None:
                query = query.where(Device.status == status)
            return [device_out(found) for found in session.scalars(query)]

    @router.get("/devices/{device_id}")
    def get_device(device_id: int) -> DeviceOut:
        with database.reading() as session:
            return device_out(device_by_id(session, device_id))

    @router.get("/devices/{device_id}/reports")
    def get_reports(device_id: int, after: After = 0, limit: Page = 1000) -> list[ReportOut]:
        """List a device's reports, oldest first; `after` is the last id of the previous page."""
        with database.reading() as session:
            device_by_id(session, device_id)
            query = select(Report).where(Report.device_id == device_id, Report.id > after)
            found = session.scalars(query.order_by(Report.id).limit(limit))
            return [report_out(report) for report in found]

    @router.post("/devices/{device_id}/tags")
    def post_tags(device_id: Number, tags: TagsIn, who: str = Depends(may)) -> DeviceOut:
        with database.writing() as session:
            device = device_by_id(session, device_id)
            now = ({each.tag for each in device.tags} | set(tags.add)) - set(tags.remove)
            device_actions.set_tags(session, device, now, who)
            return device_out(device)

    @router.patch("/devices/{device_id}")
    def patch_device(device_id: Number, given: KindIn, who: str = Depends(may)) -> DeviceOut:
        """Set the device's application and hardware."""
        with database.writing() as session:
            device = device_by_id(session, device_id)
            device_actions.set_kind(session, device, given.application, given.hardware, who)
            return device_out(device)

    @router.put("/devices/{device_id}/secret")
    def put_secret(device_id: Number, given: SecretIn, who: str = Depends(may)) -> DeviceOut:
        """Set the secret that the device signs in with; a change closes its connection."""
        with database.writing() as session:
            device = device_by_id(session, device_id)
            refuse_same_identity(session, device)
            device_sign_in.set_secret(session, device, given.secret)
            audit_log.note(session, who, "device secret", device.name)
            return device_out(device)

    @router.delete("/devices/{device_id}/secret")
    def delete_secret(device_id: Number, who: str = Depends(may)) -> DeviceOut:
        """Remove the device's secret: with --sign-in, the device cannot sign in any more."""
        with database.writing() as session:
            device = device_by_id(session, device_id)
            device_sign_in.set_secret(session, device, None)
            audit_log.note(session, who, "device secret removed", device.name)
            return device_out(device)

    @router.post("/devices/{device_id}/accept")
    def post_accept(device_id: Number, who: str = Depends(may)) -> DeviceOut:
        """Accept a pending or retired device into the fleet."""
        with database.writing() as session:
            device = device_by_id(session, device_id)
            device_actions.accept_device(session, device, who)
            return device_out(device)

    @router.post("/devices/{device_id}/retire")
    def post_retire(device_id: Number, who: str = Depends(may)) -> DeviceOut:
        """Stop a device's updates and block its sign-in; keep its history."""
        with database.writing() as session:
            device = device_by_id(session, device_id)
            device_actions.retire_device(session, device, who)
            return device_out(device)

    @router.delete("/devices/{device_id}", status_code=204)
    def delete_device(device_id: Number, who: str = Depends(may)) -> None:
        """Permanently delete a device and its entire history."""
        try:
            device_actions.delete_device(database, device_id, who)
        except LookupError:
            raise HTTPException(404, f"device id {device_id} does not exist") from None

    return router
