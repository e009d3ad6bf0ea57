"""Measure how much faster three processes store the reports of different devices than one does.

Each transaction waits for half a second before its commit. So a process mostly waits, as if it had
its own machine, and two cores are enough for three processes. If one transaction has to wait for
another, the speed-up is lower.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from contextlib import ExitStack

import psycopg
from rich.console import Console

from ..figures import Figure
from .filled_database import make

WAIT_S = 0.5
BATCH = 500  # reports, as many as the cloud takes at once
BATCHES = 5
ROUNDS = 3  # one process and three by turns, as other load of the machine changes
WORKERS = 3
DEVICES = 30_000


def measure(console: Console) -> dict[str, Figure]:
    url = make(DEVICES)
    found: dict[int, list[float]] = {1: [], WORKERS: []}
    for _ in range(ROUNDS):
        for workers, rates in found.items():
            rates.append(workers * BATCHES * BATCH / _seconds(url, workers))
            console.print(f"{workers} processes: {rates[-1]:.0f} reports/s")
    rate = {workers: statistics.median(rates) for workers, rates in found.items()}
    wanted = ROUNDS * sum(found) * (BATCHES + 1) * BATCH
    with psycopg.connect(url) as connection:
        (stored,) = connection.execute("SELECT count(*) FROM reports").fetchone() or (0,)
        (counted,) = connection.execute(
            "SELECT sum(change) FROM counter_changes WHERE name = 'report_version'"
        ).fetchone() or (0,)
    stored, counted = int(stored), int(counted)  # PostgreSQL's sums are decimals
    return {
        "intake_1_reports_per_s": Figure(round(rate[1]), "", "reports/s"),
        "intake_3_reports_per_s": Figure(round(rate[WORKERS]), "", "reports/s"),
        "intake_speedup_3": Figure(round(rate[WORKERS] / rate[1], 2), ">= 1.8", "times"),
        "intake_reports_wrong": Figure(
            abs(wanted - stored) + abs(wanted - counted), "== 0", "reports"
        ),
    }


def _seconds(url: str, workers: int) -> float:
    with ExitStack() as stack:
        processes = [
            stack.enter_context(reporter(url, 1 + DEVICES // WORKERS * number, DEVICES // WORKERS,
                                         BATCHES, BATCH, WAIT_S))
            for number in range(workers)
        ]  # fmt: skip
        began = time.perf_counter()
        for process in processes:
            go(process)
        for process in processes:
            assert process.stdout
            if len(process.stdout.read().split()) != BATCHES:
                raise RuntimeError("a process did not store all its reports")
        return time.perf_counter() - began


def reporter(
    url: str, first: int, devices: int, batches: int, size: int, wait_s: float
) -> subprocess.Popen[str]:
    """Start a process that stores reports, and wait until it is ready; see report_process.py."""
    words = map(str, (url, first, devices, batches, size, wait_s))
    process = subprocess.Popen(
        [sys.executable, "-m", f"{__package__}.report_process", *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    if process.stdout.readline() != "ready\n":
        process.wait()
        raise RuntimeError(f"a process that stores reports ended with {process.returncode}")
    return process


def go(process: subprocess.Popen[str]) -> None:
    """Let the process begin, or end."""
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()
