"""Start a campaign over the whole fleet while devices report, and measure how long reports wait.

The wait is that of the slowest transaction of reports during the start, less the median of those
before it. The other transactions are those of the leading process, which selects the devices; one
of its steps has several.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from sqlalchemy import Connection, Engine, event, select

from ivota_tools.cloud.metrics.activity_counters import Measurements
from ivota_tools.cloud.rollout import campaign_actions, campaign_counts
from ivota_tools.cloud.rollout.campaign_rules import DRAFT
from ivota_tools.cloud.rollout.timed_work import TimedWork
from ivota_tools.cloud.store.database import Database
from ivota_tools.cloud.store.models import Campaign, Firmware
from ivota_tools.cloud.store.retention import Keep

from ..figures import Figure
from .filled_database import TARGET
from .intake import go, reporter

STAGES = [{"percent": 1}, {"percent": 100}]
REPORTS = 10  # in a transaction
QUIET_S = 5.0  # of reports before the start
REST_S = 0.05  # between two steps, as in the cloud
LIMIT_S = 3600.0
TALLIES = 20


def measure(url: str, devices: int, console: Console) -> dict[str, Figure]:
    database = Database(url)
    number = _draft(database)
    with reporter(url, 1, devices, 0, REPORTS, 0.0) as process:
        go(process)
        time.sleep(QUIET_S)
        before = said(process)
        with _transactions() as transactions:
            steps, took = _start(database, number, console)
        go(process)
        assert process.stdout
        during = [float(line) for line in process.stdout.read().split()]
    tally_ms = _tally_ms(database, number)
    database.close()
    usual = statistics.median(before)
    console.print(f"{len(during)} transactions of reports, {len(steps)} steps in {took:.0f} s")
    usual_s = statistics.median(each.seconds for each in transactions)
    console.print(f"{len(transactions)} transactions, the median {usual_s:.3f} s")
    slowest = sorted(transactions, key=lambda each: -each.seconds)[:5]
    for each in slowest:
        console.print(f"{each.seconds:.3f} s, of which {each.slowest_s:.3f} s:", each.statement)
    return {
        "start_1m_wait_ms": Figure(round(1000 * (max(during) - usual), 1), "<= 250", "ms"),
        "start_1m_transaction_ms": Figure(round(1000 * slowest[0].seconds, 1), "<= 250", "ms"),
        "start_1m_s": Figure(round(took, 1), "", "s"),
        "tally_1m_ms": Figure(round(tally_ms, 2), "<= 20", "ms"),
    }


def _draft(database: Database) -> int:
    with database.writing() as session:
        firmware = session.scalars(select(Firmware).where(Firmware.version == TARGET)).one()
        campaign = Campaign(
            name="all", firmware=firmware, query="", state=DRAFT, stages=STAGES,
            success_share=1.0, soak_s=0.0, stop_least=1, only_outdated=True,
            created_at=time.time(),
        )  # fmt: skip
        session.add(campaign)
        session.flush()
        return campaign.id


def said(process) -> list[float]:  # type: ignore[no-untyped-def]
    """Return the times that are in the pipe now."""
    found = []
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        found.append(float(process.stdout.readline()))
    return found


@dataclass
class Transaction:
    """How long one took, and the statement in it that took longest."""

    begun: float
    seconds: float = 0.0
    slowest_s: float = 0.0
    statement: str = ""


@contextmanager
def _transactions() -> Iterator[list[Transaction]]:
    """Provide each transaction of this process, timed from its first statement."""
    ended: list[Transaction] = []
    current: dict[Connection, Transaction] = {}
    executed: dict[Connection, float] = {}

    def begin(connection: Connection) -> None:
        current[connection] = Transaction(time.perf_counter())

    def end(connection: Connection) -> None:
        transaction = current.pop(connection)
        transaction.seconds = time.perf_counter() - transaction.begun
        ended.append(transaction)

    def before(connection: Connection, *_rest: object) -> None:
        executed[connection] = time.perf_counter()

    def after(connection: Connection, _cursor: object, statement: str, *_rest: object) -> None:
        took = time.perf_counter() - executed.pop(connection)
        transaction = current.get(connection)
        if transaction and took > transaction.slowest_s:
            transaction.slowest_s, transaction.statement = took, " ".join(statement.split())[:200]

    hooks = (
        ("begin", begin), ("commit", end), ("rollback", end),
        ("before_cursor_execute", before), ("after_cursor_execute", after),
    )  # fmt: skip
    for name, hook in hooks:
        event.listen(Engine, name, hook)
    try:
        yield ended
    finally:
        for name, hook in hooks:
            event.remove(Engine, name, hook)


def _start(database: Database, number: int, console: Console) -> tuple[list[float], float]:
    """Start the campaign, and return the time of each step until its first stage has targets."""
    work = TimedWork(database, Keep(), 60.0, Measurements())
    steps: list[float] = []
    began = last = time.monotonic()

    def timed(step) -> None:  # type: ignore[no-untyped-def]
        begun = time.perf_counter()
        step()
        steps.append(time.perf_counter() - begun)

    def start() -> None:
        with database.writing() as session:
            campaign = session.get_one(Campaign, number)
            campaign_actions.start(session, campaign, time.time(), "bench")

    timed(start)
    while True:
        timed(lambda: work.step(time.time()))
        if not work.more:
            return steps, time.monotonic() - began
        if time.monotonic() - last > 30:
            last = time.monotonic()
            console.print(f"{len(steps)} steps")
        if time.monotonic() - began > LIMIT_S:
            raise RuntimeError(f"the campaign did not start within {LIMIT_S:.0f} s")
        time.sleep(REST_S)


def _tally_ms(database: Database, number: int) -> float:
    """Return the median time to read a campaign's numbers, each time in a session of its own."""
    found = []
    for _ in range(TALLIES):
        with database.reading() as session:
            campaign = session.get_one(Campaign, number)
            began = time.perf_counter()
            campaign_counts.tally(session, campaign)
            found.append(time.perf_counter() - began)
    return 1000 * statistics.median(found)
