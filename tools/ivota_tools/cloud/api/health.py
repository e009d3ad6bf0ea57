"""The HTTP API of the cloud's health."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from ..accounts.authorization import Guard
from ..health_probes import Checks
from ..store import event_counters
from ..store.change_numbers import REVISION
from ..store.database import Database, settled
from .route_parameters import ERRORS


class HealthOut(BaseModel):
    """The cloud's health, and counters of the messages that it has processed.

    `standby`: another process is processing the reports, and this one can take over.
    `store_problem`: why the cloud cannot store or read firmware.
    """

    ok: bool
    problem: str | None
    mqtt_connected: bool
    standby: bool
    store_problem: str | None
    counters: dict[str, int]


def routes(database: Database, *, health: Checks, may: Guard) -> APIRouter:
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(may)], responses=ERRORS)

    @router.get("/health")
    def get_health() -> HealthOut:
        found = health()
        with database.reading() as session:
            counters = event_counters.totals(session) | {REVISION: settled(session)}
        return HealthOut(
            ok=found.ok,
            problem=found.problem,
            mqtt_connected=found.connected,
            standby=found.standby,
            store_problem=found.store,
            counters=counters,
        )

    return router
