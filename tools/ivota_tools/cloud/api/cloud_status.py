"""The HTTP API of the cloud's own state: addresses, broker, certificate, backup and disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from ...common import project_files
from ..accounts.authorization import Guard
from ..metrics.scrape import Sources
from ..store.backup import last_backup
from .route_parameters import ERRORS


class Addresses(BaseModel):
    """Where the cloud listens. `broker` is the address of an external broker."""

    api_url: str
    public_url: str = Field(description="Where devices download firmware.")
    console_url: str
    http_port: int
    mqtt_host: str
    mqtt_port: int
    psk_port: int | None = Field(description="For devices that use their secret as the TLS key.")
    broker: str | None
    data: str


class CloudOut(Addresses):
    """The state of the cloud. Times are Unix seconds, sizes are bytes."""

    version: str
    ok: bool
    problem: str | None
    store_problem: str | None = Field(description="Why the cloud cannot store or read firmware.")
    mqtt_connected: bool
    standby: bool
    sign_in: bool = Field(description="Whether devices must sign in.")
    database: str = Field(description="file or postgresql.")
    certificate_expires_at: float | None = Field(description="null: without TLS.")
    backup_at: float | None = Field(description="null: never, or by another machine.")
    disk_free: int
    disk_size: int


def routes(
    sources: Sources,
    addresses: Callable[[], Addresses],
    *,
    sign_in: bool,
    database: str | None,
    may: Guard,
) -> APIRouter:
    """`database` is the URL of PostgreSQL."""
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses=ERRORS)

    @router.get("/cloud")
    def get_cloud() -> CloudOut:
        """Return the state of the cloud itself."""
        health, disk = sources.health(), shutil.disk_usage(sources.folder)
        return CloudOut(
            **addresses().model_dump(),
            version=project_files.version(),
            ok=health.ok,
            problem=health.problem,
            store_problem=health.store,
            mqtt_connected=health.connected,
            standby=health.standby,
            sign_in=sign_in,
            database="file" if database is None else "postgresql",
            certificate_expires_at=min(sources.expires().values(), default=None),
            backup_at=last_backup(sources.folder) or None,
            disk_free=disk.free,
            disk_size=disk.total,
        )

    return router
