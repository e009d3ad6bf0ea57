"""Drop a month of reports while devices report, and measure how long a report waits."""

from __future__ import annotations

import statistics
import time

import psycopg
from rich.console import Console

from ivota_tools.cloud.store.database import Database
from ivota_tools.cloud.store.monthly_partitions import begin_of, keep_up, month
from ivota_tools.cloud.store.retention import Keep

from ..figures import Figure
from .campaign_start import said
from .intake import go, reporter

REPORTS = 10  # in a transaction
TRIES = 100  # until nobody holds a lock for too long
QUIET_S = 5.0


def measure(url: str, devices: int, rows: int, console: Console) -> dict[str, Figure]:
    database = Database(url)
    now = time.time()
    following = begin_of(*month(now, 1))
    after = following + 40 * 86400.0  # the month after the next has its partition, too
    keep_up(database, Keep(), following)
    _fill(url, devices, rows, following)
    full = _size(url)
    with reporter(url, 1, devices, 0, REPORTS, 0.0) as process:
        go(process)
        time.sleep(QUIET_S)
        usual = statistics.median(said(process))
        tries = 0
        began = time.perf_counter()
        while _size(url) > full // 2 and tries < TRIES:
            tries += 1
            keep_up(database, Keep(1.0), after)
        took = time.perf_counter() - began
        go(process)
        assert process.stdout
        during = [float(line) for line in process.stdout.read().split()]
    database.close()
    freed = 1 - _size(url) / full
    console.print(f"dropped after {tries} tries in {took:.2f} s")
    return {
        "report_bytes": Figure(round(full / rows), "", "bytes"),
        "device_bytes": Figure(round(_size_of_devices(url) / devices), "", "bytes"),
        "drop_month_rows": Figure(rows, "", "reports"),
        "drop_month_wait_ms": Figure(round(1000 * (max(during) - usual), 1), "<= 500", "ms"),
        "drop_month_freed": Figure(round(freed, 3), ">= 0.9", "of the bytes"),
    }


def _fill(url: str, devices: int, rows: int, begin: float) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO reports (at, device_id, topic, kind, version, raw, raw_size)"
            " SELECT %(begin)s + n %% 2000000, 1 + n %% %(devices)s, '$ota/report/BENCH/d',"
            " 'report_version', '0.3', repeat('x', 60)::bytea, 60"
            " FROM generate_series(1, %(rows)s) n",
            {"begin": begin, "devices": devices, "rows": rows},
        )


def _size(url: str) -> int:
    """Return the bytes of all reports and their indexes."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits"
            " WHERE inhparent = 'reports'::regclass"
        ).fetchone()
    return int(row[0]) if row else 0


def _size_of_devices(url: str) -> int:
    """Return the bytes of the devices' rows and their indexes."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_total_relation_size('devices')").fetchone()
    return int(row[0]) if row else 0
