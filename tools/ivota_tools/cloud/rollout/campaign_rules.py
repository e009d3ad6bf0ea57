"""Decide a campaign's next step from the counts of its devices, in pure functions.

draft/scheduled → running ⇄ paused        (by an operator)
                  running → stopped       (by the stop rule, or a stage that missed its share)
                  running → finished      (every device has ended)
                  any of these → cancelled
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...common.campaign_options import FIRST
from ..store.models import Campaign

DRAFT, SCHEDULED, RUNNING, PAUSED = "draft", "scheduled", "running", "paused"
STOPPED, FINISHED, CANCELLED = "stopped", "finished", "cancelled"
ENDED = (FINISHED, CANCELLED)


@dataclass
class Tally:
    """Device counts of one or all stages; `left_out` devices have left the campaign.

    `failing` devices are open and have failed at least once; `given_up` ones have left after a
    failure, for example because the campaign was cancelled.
    """

    members: int = 0
    good: int = 0
    failed: int = 0
    left_out: int = 0
    failing: int = 0
    given_up: int = 0

    @property
    def counted(self) -> int:
        return self.members - self.left_out

    @property
    def open(self) -> int:
        return self.counted - self.good - self.failed

    @property
    def success(self) -> float:
        return self.good / self.counted if self.counted else 1.0

    @property
    def bad(self) -> int:
        """The devices that have failed and are not retried, even if they have succeeded since."""
        return self.failed + self.given_up

    @property
    def all_failed(self) -> int:
        """The devices that have failed and are not done; `failing` of them are to be retried.

        Every list, page and command shows this number as "failed". All numbers that are shown
        add up: members = good + all_failed + remaining + away.
        """
        return self.bad + self.failing

    @property
    def remaining(self) -> int:
        """The devices without a result."""
        return self.open - self.failing

    @property
    def away(self) -> int:
        """The devices that left without a failure."""
        return self.left_out - self.given_up

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.members + other.members,
            self.good + other.good,
            self.failed + other.failed,
            self.left_out + other.left_out,
            self.failing + other.failing,
            self.given_up + other.given_up,
        )


@dataclass(frozen=True)
class Step:
    """The next step: another state with its reason, or the next stage."""

    state: str | None = None
    reason: str = ""
    next_stage: bool = False


def bounds(stages: Sequence[dict[str, Any]], total: int) -> list[int]:
    """Return the cumulative size of each stage; the last one includes all devices."""
    ends: list[int] = []
    for stage in stages:
        count = min(size_of(stage, total), total)
        if count > (ends[-1] if ends else 0):
            ends.append(count)
    if total and (not ends or ends[-1] < total):
        ends.append(total)
    return ends


def size_of(stage: dict[str, Any], total: int) -> int:
    """Return the size of a stage of `total` devices."""
    count = stage.get("count")
    if count is None:
        # Round up, so that 1 % is at least one device.
        count = -(-total * stage["percent"] // 100)
    return int(count)


def failed_words(tally: Tally) -> str:
    """Return the number of devices that have failed, and how many of them are to be retried."""
    retried = f" ({tally.failing:,} to be retried)" if tally.failing else ""
    return f"{tally.all_failed:,} failed{retried}"


def summary(tally: Tally) -> str:
    """Return a campaign's or a stage's numbers as words, the same for every medium."""
    words = f"{tally.good:,} of {tally.members:,} done, {failed_words(tally)}"
    return f"{words}, {tally.remaining:,} remaining" if tally.remaining else words


def failures(campaign: Campaign, total: Tally) -> int:
    """Return the number of devices whose failure the stop rule counts."""
    return total.failed + (total.failing if campaign.stop_on == FIRST else 0)


def decide(campaign: Campaign, tallies: Sequence[Tally], now: float) -> Step | None:
    """Decide the next step of a running campaign, and update `stage_good_at`."""
    total = sum(tallies, Tally())
    # Waived failures may be retried or succeed: then they must not hide other failures.
    counted = failures(campaign, total)
    campaign.waived_failed = min(campaign.waived_failed, counted)
    failed = counted - campaign.waived_failed
    ended = failed + total.good - campaign.waived_done
    if campaign.stop_share is not None and failed > 0 and ended >= campaign.stop_least:
        if failed / ended >= campaign.stop_share:
            since = " since it was resumed" if campaign.waived_failed else ""
            return Step(STOPPED, f"{failed} of {ended} failed{since}")
    # Once all stages have started, only unfinished devices keep the campaign open.
    if campaign.stage >= len(tallies) - 1:
        return Step(FINISHED) if total.open == 0 else None
    reached = sum(tallies[: campaign.stage + 1], Tally())
    if reached.success < campaign.success_share and campaign.waived_stage < campaign.stage:
        campaign.stage_good_at = None
        if reached.open == 0:
            words = f"stage {campaign.stage + 1}: only {reached.good} of {reached.counted} done"
            return Step(STOPPED, f"{words}, {100 * campaign.success_share:g} % required")
        return None
    if campaign.stage_good_at is None:
        campaign.stage_good_at = now
    if now - campaign.stage_good_at >= campaign.soak_s:
        return Step(next_stage=True)
    return None
