"""Measure the console's pages with a large fleet, relative to a page of an empty console.

A signed-in client requests each page repeatedly over one connection, alternating with a page of
an empty console, so that the machine's load affects both alike.
"""

from __future__ import annotations

import os
import random
import re
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from rich.console import Console
from sqlalchemy import insert, select

from ivota_tools.cloud.accounts.users import create
from ivota_tools.cloud.rollout import assignment_states, campaign_counts, campaign_rules
from ivota_tools.cloud.store.database import Database
from ivota_tools.cloud.store.models import (
    Assignment,
    Audit,
    Campaign,
    Change,
    Device,
    DeviceTag,
    Failure,
    Firmware,
    Member,
    Report,
)

from ..figures import Figure
from .stage import CloudProcess

ROUNDS = 60
PASSWORD = "a sentence is good"
STATES = (
    (assignment_states.DONE, 80),
    (assignment_states.WAITING, 8),
    (assignment_states.DOWNLOADING, 6),
    (assignment_states.RETRY, 3),
    (assignment_states.FAILED, 3),
)
PAGES = {
    "fleet": "/",
    "fleet_last": "/?sort=name&page=after-%5B0,%22BENCH%22,%22d-99%22%5D",
    "search": "/?q=tag:beta+version%3C0.3+-name:d-1*",
    "device": "/devices/1",
    "campaign": "/campaigns/1",
    "campaigns": "/campaigns",
    "campaign_new": "/campaigns/new?query=seen%3C1d",
    "firmware": "/firmware",
    "audit": "/audit",
}
MOST_MS = 200


def measure(folder: Path, devices: int, console: Console) -> dict[str, Figure]:
    folder.mkdir(parents=True)
    for name, count in (("full", devices), ("empty", 0)):
        (folder / name).mkdir()
        fill(folder / name / "ivota.db", count)
    port = ("--mqtt-port", 0)
    with (
        CloudProcess(folder / "full", *port) as full,
        CloudProcess(folder / "empty", *port) as empty,
    ):
        with _signed_in(full) as many, _signed_in(empty) as none:
            times = _ask(many, none)
            cpu = _cpu_ms(full.process.pid, many)
    base = _p95(times.pop("empty"))
    found = {name: _p95(each) for name, each in times.items()}
    for name, value in found.items():
        median = 1000 * statistics.median(times[name])
        console.print(f"  {name:<13} p50 {median:6.1f} ms, p95 {value:6.1f} ms, "
                      f"{value / base:5.1f} of an empty page")  # fmt: skip
    slowest = max(found.values())
    return {
        "pages_devices": Figure(devices, "", "devices"),
        "pages_fleet_cpu": Figure(round(cpu, 1), f"<= {MOST_MS}", "ms of the processor"),
        "pages_fleet_p95": Figure(round(found["fleet"], 1), f"<= {MOST_MS}", "ms"),
        "pages_slowest_p95": Figure(round(slowest, 1), f"<= {MOST_MS}", "ms"),
        "pages_fleet_ratio": Figure(round(found["fleet"] / base, 2), "", "p95 / empty page's p95"),
        "pages_slowest_ratio": Figure(round(slowest / base, 2), "", "p95 / empty page's p95"),
    }


def _ask(many: httpx.Client, none: httpx.Client) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in (*PAGES, "empty")}
    for _ in range(ROUNDS):
        for name, path in (*PAGES.items(), ("empty", "/")):
            client = none if name == "empty" else many
            begun = time.perf_counter()
            answer = client.get(path)
            times[name].append(time.perf_counter() - begun)
            answer.raise_for_status()
    return times


def _cpu_ms(pid: int, client: httpx.Client) -> float:
    """Measure the cloud process's CPU time for one fleet page, independent of other load."""

    def used() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = used()
    for _ in range(ROUNDS):
        client.get(PAGES["fleet"]).raise_for_status()
    return 1000 * (used() - before) / ROUNDS


def _p95(times: list[float]) -> float:
    """Return the 95th percentile in milliseconds."""
    return 1000 * sorted(times)[int(0.95 * len(times))]


@contextmanager
def _signed_in(cloud: CloudProcess) -> Iterator[httpx.Client]:
    url = cloud.said["api_url"]
    with httpx.Client(base_url=url, follow_redirects=True, timeout=60) as client:
        page = client.get("/sign-in").text
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', page)
        form = {"csrf": found[1] if found else "", "name": "admin", "password": PASSWORD}
        client.post("/sign-in", data=form).raise_for_status()
        yield client


def fill(path: Path, count: int, seed: int = 3) -> None:
    """Fill a console's database with an admin and `count` devices in a running campaign."""
    now, draw = time.time(), random.Random(seed)
    database = Database(path)
    with database.writing() as session:
        create(session, "admin", PASSWORD, "admin", now, "bench")
        if count:
            _fill(session.execute, count, now, draw)
            campaign_counts.recount(session, 1)
    database.close()


def _fill(execute, count: int, now: float, draw: random.Random) -> None:  # type: ignore[no-untyped-def]
    versions = ("0.1", "0.2", "0.3", "0.4")
    execute(insert(Firmware), [
        {"version": version, "application": "bench", "kind": "other", "size": 700_000,
         "md5": "0" * 32, "sha256": version * 16, "uploaded_at": now} for version in versions
    ])  # fmt: skip
    rules = {"success_share": 0.9, "soak_s": 60.0, "stop_share": 0.5, "stop_least": 1000,
             "only_outdated": True, "waived_done": 0, "waived_failed": 0,
             "waived_stage": -1}  # fmt: skip
    execute(insert(Campaign), [
        {"name": f"campaign {number}", "firmware_id": 3, "query": "", "reason": "", "stage": 1,
         "state": campaign_rules.PAUSED if number == 1 else campaign_rules.FINISHED,
         "created_at": now - 9000,
         "stages": [{"percent": 10}, {"percent": 100}], "started_at": now - 9000, **rules}
        for number in range(1, 41)
    ])  # fmt: skip
    states = draw.choices([each for each, _ in STATES], [n for _, n in STATES], k=count)
    execute(insert(Device), [
        {"product_id": "BENCH", "device_name": f"d-{number}", "garbled": 0, "revision": number,
         "version": "0.3" if state == assignment_states.DONE else draw.choice(versions[:2]),
         "first_seen": now - 9e6, "last_seen": now - draw.uniform(0, 90_000)}
        for number, state in enumerate(states)
    ])  # fmt: skip
    execute(insert(Assignment), [
        {"device_id": number, "firmware_id": 3, "campaign_id": 1, "current": True, "pushes": 1,
         "state": state, "percent": draw.randint(0, 100), "soft_failures": 0, "hard_failures": 0,
         **dict.fromkeys(("result_code", "failure_code"), -draw.randint(1, 5) if (
             failed := state in (assignment_states.FAILED, assignment_states.RETRY)) else None),
         "failure_msg": f"reason {draw.randint(1, 12)}", "created_at": now - 9000,
         "failed_at": now - 500 if failed else None, "failure_count": int(failed),
         "updated_at": now - draw.uniform(0, 2000), "first_push_at": now - 3000}
        for number, state in enumerate(states, 1)
    ])  # fmt: skip
    columns = (Assignment.id, Assignment.failure_count, Assignment.failed_at,
               Assignment.failure_code, Assignment.failure_msg)  # fmt: skip
    names = ["assignment_id", "number", "at", "code", "message"]
    rows = select(*columns).where(Assignment.failed_at.is_not(None))
    execute(insert(Failure).from_select(names, rows))
    execute(insert(Member), [
        {"campaign_id": 1, "device_id": number, "stage": int(number > count // 10),
         "assignment_id": number} for number in range(1, count + 1)
    ])  # fmt: skip
    execute(insert(DeviceTag), [
        {"device_id": number, "tag": draw.choice(("beta", "hall", "roof"))}
        for number in range(1, count + 1, 3)
    ])  # fmt: skip
    execute(insert(Change), [
        {"at": now - draw.uniform(0, 86_000), "device_id": draw.randint(1, count),
         "before": versions[i % 3], "after": versions[i % 3 + 1]} for i in range(2 * count)
    ])  # fmt: skip
    execute(insert(Report), [
        {"at": now - 5000 + i, "device_id": 1 if i % 9 == 0 else draw.randint(1, count),
         "topic": "t", "kind": "report_progress", "version": "0.3", "state": "downloading",
         "percent": i % 100, "raw": b"{}", "raw_size": 2, "assignment_id": 1} for i in range(5000)
    ])  # fmt: skip
    execute(insert(Audit), [
        {"at": now - 9000 + i, "who": draw.choice(("maria", "tom", "engine")), "action": "push",
         "subject": f"BENCH/d-{i}", "detail": ""} for i in range(5000)
    ])  # fmt: skip
