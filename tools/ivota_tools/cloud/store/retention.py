"""Delete rows that have expired; each table has a rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, select
from sqlalchemy.orm import Session

from ..accounts import sign_in_throttle, users
from . import models
from .models import Assignment, Base, Controller, Failure, Member, Push, Report

ROWS_MOST = 1000  # rows per table at a time, so that other transactions do not wait long
ATTEMPTS_MOST = 2000  # attempts that a step checks; most of them are still in use
WEBHOOK_S = 90 * 86400.0  # of messages that were given up, or whose webhook was removed


@dataclass(frozen=True)
class Keep:
    """How long to keep rows, in seconds; None means forever.

    reports_s   reports, pushes, version changes and superseded attempts
    audit_s     the audit log
    """

    reports_s: float | None = None
    audit_s: float | None = None


@dataclass(frozen=True)
class Rule:
    """What ends the rows of a table.

    what    the rows, in an operator's words
    until   how long they stay, likewise
    age     the field of `Keep` after which they are deleted, by their column `at`
    over    which rows are over at a time, whatever `Keep` says
    """

    what: str
    until: str
    age: str = ""
    over: Callable[[float], ColumnElement[bool]] | None = None


_HISTORY = "`--keep-reports`; without it, forever"
_DEVICE = "as long as their device"
_CAMPAIGN = "as long as their campaign"

# Every table has a rule, which docs/operate.md repeats. Rows without an age or a condition end
# with the row that owns them, by a person's hand, or are few.
RULES: dict[type[Base], Rule] = {
    models.Report: Rule("reports of devices", _HISTORY, "reports_s"),
    models.Push: Rule("pushes", _HISTORY, "reports_s"),
    models.Change: Rule("version changes, for the chart", _HISTORY, "reports_s"),
    models.Assignment: Rule(
        "update attempts",
        "`--keep-reports`, once no device, campaign, report or push refers to them; without it, "
        "forever",
    ),
    models.Failure: Rule("failures", "as long as their update attempt"),
    models.Audit: Rule("audit log", "`--keep-audit`; without it, forever", "audit_s"),
    models.SignIn: Rule(
        "signed-in browsers",
        "a day after the last request, two weeks at most; 8 hours with an identity provider",
        over=users.is_over,
    ),
    models.Refusal: Rule("failed sign-ins", "15 minutes", over=sign_in_throttle.is_over),
    models.WebhookMessage: Rule(
        "webhook messages",
        "until they are delivered, 90 days at most. For each webhook, 1,000 that are waiting and "
        "1,000 that the cloud has given up on",
        over=lambda now: models.WebhookMessage.at < now - WEBHOOK_S,
    ),
    models.Device: Rule("devices", "until you delete them; of pending devices, the last 10,000"),
    models.DeviceTag: Rule("tags of devices", _DEVICE),
    models.Controller: Rule("state of devices that poll by DDI", _DEVICE),
    models.Firmware: Rule(
        "firmware and deltas",
        "until you delete the firmware. The cloud makes at most 5 deltas for a campaign. The "
        "name of deleted firmware stays in the history",
    ),
    models.FileSweep: Rule(
        "files that no firmware uses",
        "until a minute after you delete their firmware, or a day after an interrupted upload",
    ),
    models.Campaign: Rule("campaigns", "until you delete them"),
    models.Member: Rule("devices of campaigns", _CAMPAIGN),
    models.CampaignCount: Rule("device counts of campaigns", _CAMPAIGN),
    models.Group: Rule("groups", "until you delete them"),
    models.User: Rule("users, with their second factor", "until you remove them"),
    models.Token: Rule("tokens", "until you remove them"),
    models.DdiToken: Rule("tokens of devices that poll by DDI", "until you remove them"),
    models.Setting: Rule("the cloud's own settings", "forever; their number is fixed"),
    models.Counter: Rule("message counters", "forever; their number is fixed"),
    models.CounterChange: Rule("increments of message counters", "until the cloud adds them up"),
}


class Forgetting:
    """Delete expired rows in steps, each of which checks a limited number of rows."""

    def __init__(self) -> None:
        self._after = 0  # the id of the last attempt that was checked

    def step(self, session: Session, keep: Keep, now: float) -> bool:
        """Delete some of the oldest rows; return True if there are more to check.

        The result of an attempt stays as long as a campaign counts it.
        """
        more = False
        for table, rule in RULES.items():
            age_s = getattr(keep, rule.age) if rule.age else None
            if age_s is not None:
                more = _oldest(session, table, now - age_s, now) or more
            if rule.over:
                session.execute(delete(table).where(rule.over(now)))
        if keep.reports_s is not None:
            more = self._attempts(session, now - keep.reports_s) or more
        return more

    def _attempts(self, session: Session, before: float) -> bool:
        """Delete attempts to which no device, campaign, remaining report or push refers."""
        found = select(Assignment.id).where(
            Assignment.id > self._after,
            Assignment.id <= self._after + ATTEMPTS_MOST,
            Assignment.current.is_(False),
            func.coalesce(Assignment.ended_at, Assignment.updated_at) < before,
            ~exists().where(Member.assignment_id == Assignment.id),
            ~exists().where(Push.assignment_id == Assignment.id),
            ~exists().where(Controller.assignment_id == Assignment.id),
            # Filter by device, too: the reports have an index on that column.
            ~exists().where(
                Report.device_id == Assignment.device_id, Report.assignment_id == Assignment.id
            ),
        )
        if old := session.scalars(found).all():
            session.execute(delete(Failure).where(Failure.assignment_id.in_(old)))
            session.execute(delete(Assignment).where(Assignment.id.in_(old)))
        self._after += ATTEMPTS_MOST
        if self._after >= (session.scalar(select(func.max(Assignment.id))) or 0):
            self._after = 0
        return self._after > 0


def _oldest(session: Session, table: Any, before: float, now: float) -> bool:
    # Rows are inserted in the order of time, so the oldest have the lowest ids. Rows from a time
    # when the clock was ahead may come before them.
    after = 0
    while True:
        some = select(table.id, table.at).where(table.id > after).order_by(table.id)
        rows = session.execute(some.limit(ROWS_MOST)).tuples().all()
        if old := [number for number, at in rows if at < before]:
            session.execute(
                delete(table).where(table.id > after, table.id <= old[-1], table.at < before)
            )
            return len(rows) == ROWS_MOST
        if len(rows) < ROWS_MOST or any(at <= now for _, at in rows):
            return False
        after = rows[-1][0]
