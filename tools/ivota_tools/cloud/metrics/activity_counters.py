"""The counters and histograms of this process. Every label has a fixed set of values."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from ..mqtt import messages

KINDS = (messages.REPORT_VERSION, messages.REPORT_PROGRESS, messages.REPORT_NOTICE,
         messages.UNKNOWN, messages.GARBLED, "retained", "stray")  # fmt: skip
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
OTHER = "other"
BATCH_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
HTTP_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 10)

# A series with the time of its creation for each counter would double the size of a scrape.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Measurements:
    """One registry for each cloud, so that several clouds in one process stay apart."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._reports = Counter(
            "ivota_reports",
            "Messages from devices that were stored, by kind.",
            ["kind"],
            registry=self.registry,
        )
        for kind in KINDS:
            self._reports.labels(kind)
        self._dropped = Counter(
            "ivota_reports_dropped",
            "Progress reports with QoS 0 that were dropped because the queue was full.",
            registry=self.registry,
        )
        self._pushes = Counter("ivota_pushes", "Pushes sent to devices.", registry=self.registry)
        self._batch = Histogram(
            "ivota_batch_seconds",
            "Time to store a batch of reports and to select pushes.",
            buckets=BATCH_BUCKETS,
            registry=self.registry,
        )
        self._tick = Histogram(
            "ivota_tick_seconds",
            "Time to advance all campaigns once.",
            buckets=BATCH_BUCKETS,
            registry=self.registry,
        )
        self._requests = Counter(
            "ivota_http_requests",
            "HTTP requests, by route, method and status code.",
            ["route", "method", "code"],
            registry=self.registry,
        )
        self._response = Histogram(
            "ivota_http_response_seconds",
            "Time from a request until its response begins, by route.",
            ["route"],
            buckets=HTTP_BUCKETS,
            registry=self.registry,
        )

    def batch(
        self, seconds: float, kinds: Mapping[str, int], dropped: int = 0, pushes: int = 0
    ) -> None:
        """Record a committed batch; `kinds` counts its reports."""
        self._batch.observe(seconds)
        for kind, count in kinds.items():
            self._reports.labels(kind if kind in KINDS else OTHER).inc(count)
        self._dropped.inc(dropped)
        self._pushes.inc(pushes)

    def tick(self, seconds: float) -> None:
        self._tick.observe(seconds)

    def request(self, route: str, method: str, code: int, seconds: float) -> None:
        """Record a response; `route` is a template, never a path."""
        self._requests.labels(route, method if method in METHODS else OTHER, code).inc()
        self._response.labels(route).observe(seconds)
