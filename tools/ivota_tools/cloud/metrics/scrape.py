"""Answer a scrape: `/metrics`, for viewers and admins alike."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from ...common import project_files
from ..accounts.authorization import Guard
from ..accounts.token_guess_delay import WrongTries
from ..connection_limit import Table
from ..health_probes import Health
from ..mqtt.report_worker import Intake
from ..store.backup import last_backup
from ..store.database import Database
from .activity_counters import Measurements
from .fleet_metrics import fleet

PATH = "/metrics"


@dataclass(frozen=True)
class Sources:
    """Where a scrape finds the state of the cloud.

    intake          None in a process that takes no reports
    leads           whether this process sends the pushes
    tables          the listeners' connections, by the listener's name
    refusals        what counts wrong tokens, passwords and secrets
    expires         when a certificate expires, by its name
    """

    database: Database
    folder: Path
    health: Callable[[], Health]
    intake: Callable[[], Intake | None]
    leads: Callable[[], bool]
    tables: Mapping[str, Table]
    refusals: Mapping[str, WrongTries]
    expires: Callable[[], Mapping[str, float]]


class StateCollector(Collector):
    """Reads the state when Prometheus asks for it."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def describe(self) -> list[Metric]:
        """Return nothing: otherwise the registry would read the state to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._process()
        try:
            with self._sources.database.reading() as session:
                yield from list(fleet(session, time.time()))
        except SQLAlchemyError:
            pass  # `ivota_ready` tells it; the rest of the scrape is worth having

    def _process(self) -> Iterator[Metric]:
        sources, found = self._sources, self._sources.health()
        build = GaugeMetricFamily("ivota_build_info", "The version of ivota.", labels=["version"])
        build.add_metric([project_files.version()], 1)
        yield build
        yield GaugeMetricFamily(
            "ivota_ready", "1 if reports are being stored, like /readyz.", found.ok
        )
        yield GaugeMetricFamily(
            "ivota_store_ready", "1 if firmware can be stored and read.", found.store is None
        )
        yield GaugeMetricFamily(
            "ivota_standby", "1 if another process handles the reports.", found.standby
        )
        yield GaugeMetricFamily(
            "ivota_leader", "1 if this process sends pushes and runs campaigns.", sources.leads()
        )
        yield GaugeMetricFamily(
            "ivota_broker_connected", "1 if connected to the MQTT broker.", found.connected
        )
        intake = sources.intake()
        yield GaugeMetricFamily(
            "ivota_queue_reports",
            "Reports that are not stored yet.",
            intake.queued if intake else 0,
        )
        yield GaugeMetricFamily(
            "ivota_queue_bytes",
            "Size of the reports that are not stored yet.",
            intake.queued_bytes if intake else 0,
        )
        yield _labelled(
            GaugeMetricFamily("ivota_connections", "Open connections.", labels=["listener"]),
            {name: len(table) for name, table in sources.tables.items()},
        )
        yield _labelled(
            GaugeMetricFamily(
                "ivota_connections_max", "Maximum number of connections.", labels=["listener"]
            ),
            {name: table.most for name, table in sources.tables.items()},
        )
        yield _labelled(
            CounterMetricFamily(
                "ivota_refusals", "Wrong tokens, passwords and device secrets.", labels=["of"]
            ),
            {name: tries.total for name, tries in sources.refusals.items()},
        )
        yield from self._disk()
        yield _labelled(
            GaugeMetricFamily(
                "ivota_certificate_expiry_timestamp_seconds",
                "When a certificate in use expires.",
                labels=["certificate"],
            ),
            sources.expires(),
        )
        yield GaugeMetricFamily(
            "ivota_backup_timestamp_seconds",
            "When `ivota backup` last succeeded; 0: never.",
            last_backup(sources.folder),
        )

    def _disk(self) -> Iterator[Metric]:
        try:
            usage = shutil.disk_usage(self._sources.folder)
        except OSError:
            return
        yield GaugeMetricFamily(
            "ivota_disk_free_bytes", "Free space for the data directory.", usage.free
        )
        yield GaugeMetricFamily(
            "ivota_disk_size_bytes", "Size of the data directory's file system.", usage.total
        )


def _labelled(
    family: GaugeMetricFamily | CounterMetricFamily, values: Mapping[str, float]
) -> GaugeMetricFamily | CounterMetricFamily:
    for name, value in values.items():
        family.add_metric([name], value)
    return family


def routes(measurements: Measurements, sources: Sources, *, may: Guard) -> APIRouter:
    measurements.registry.register(StateCollector(sources))
    router = APIRouter(dependencies=[Depends(may)])

    @router.get(PATH, include_in_schema=False)
    def get_metrics(request: Request) -> Response:
        """Return all metrics in the format that the client prefers."""
        encoder, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(encoder(measurements.registry), headers={"Content-Type": kind})

    return router
