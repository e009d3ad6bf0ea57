"""The timed work of the leading process, in one transaction: campaigns, old rows, clocks.

It skips devices whose reports another process is storing, until the next time.
"""

from __future__ import annotations

import time

from ..metrics.activity_counters import Measurements
from ..store import event_counters, future_dates, monthly_partitions
from ..store.database import Database
from ..store.retention import Forgetting, Keep
from . import campaign_progress, missing_downloads

TICK_S = 0.5  # between two checks of the campaigns
FORGET_S = 60.0  # between two deletions of old rows
FORGET_MORE_S = 0.2  # while more are due: faster than reports come in


class TimedWork:
    """`wait_most_s` is the longest delay of a retry."""

    def __init__(
        self, database: Database, keep: Keep, wait_most_s: float, measurements: Measurements
    ) -> None:
        self._database, self.keep = database, keep
        self._wait_most_s = wait_most_s
        self._measurements = measurements
        self._offset = float("inf")  # of the wall clock to the monotonic one
        self._next_tick = self._next_forget = 0.0
        self._forgetting = Forgetting()
        self.looks = 0  # checks for due work
        self.more = False  # a campaign continues in steps

    def step(self, now: float) -> bool:
        """Do what is due, and return whether anything was. If it fails, it is still due."""
        offset = now - time.monotonic()
        set_back = offset < self._offset - future_dates.AHEAD_S
        forget = time.monotonic() >= self._next_forget
        look = time.monotonic() >= self._next_tick
        tick = look and self._anything_to_do(now)
        if forget:
            monthly_partitions.keep_up(self._database, self.keep, now)
        if set_back or forget or tick:
            with self._database.writing() as session:
                if set_back:
                    future_dates.repair(session, now, self._wait_most_s)
                began = time.monotonic()
                more = campaign_progress.tick(session, now)
                self._measurements.tick(time.monotonic() - began)
                missing_downloads.mark(session, now)
                more_old = forget and self._forgetting.step(session, self.keep, now)
                event_counters.fold(session)
            self.more = more
            self._next_tick = 0.0 if more else time.monotonic() + TICK_S
            if forget:
                self._next_forget = time.monotonic() + (FORGET_MORE_S if more_old else FORGET_S)
        self._offset = offset
        self.looks += look
        return set_back or forget or tick

    def _anything_to_do(self, now: float) -> bool:
        with self._database.reading() as session:
            return (
                campaign_progress.anything_to_do(session)
                or missing_downloads.anything_to_do(session, now)
                or event_counters.are_many(session)
            )
