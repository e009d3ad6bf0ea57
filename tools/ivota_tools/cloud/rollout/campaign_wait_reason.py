"""Say in a sentence what a campaign is waiting for: the pages and the commands show the same."""

from __future__ import annotations

from collections.abc import Sequence

from ...common import times
from ...common.durations import span
from ..store.models import Campaign
from . import campaign_rules
from .campaign_rules import Tally


def waits_for(campaign: Campaign, tallies: Sequence[Tally], now: float) -> str:
    """Return what the campaign is waiting for, in a sentence for every medium; "" for nothing."""
    if campaign.state == campaign_rules.SCHEDULED:
        when = times.minute(campaign.start_at) if campaign.start_at else "its start time"
        return f"The campaign starts automatically at {when}."
    if campaign.state == campaign_rules.DRAFT:
        return "The campaign is a draft. It selects its devices when you start it."
    if campaign.selection is not None:
        found = sum(tallies, Tally()).members
        return f"The campaign is selecting its devices: {found:,} so far."
    if campaign.state == campaign_rules.PAUSED:
        return (
            "The cloud pushes nothing until you resume the campaign. Running downloads can finish."
        )
    if campaign.state == campaign_rules.STOPPED:
        rest = sum(tallies, Tally()).open
        then = (
            "then resume the campaign; past failures will not count" if rest else "then retry the "
            "failed devices; all others are finished"
        )  # fmt: skip
        return (
            f"The campaign stopped automatically: {campaign.reason}. Fix the cause of the "
            f"failures, {then}."
        )
    if campaign.state != campaign_rules.RUNNING or not tallies:
        return ""
    total = sum(tallies, Tally())
    if campaign.stage >= len(tallies) - 1:
        return f"{_devices(total.open)} remaining." if total.open else "Finishing."
    reached = sum(tallies[: campaign.stage + 1], Tally())
    if campaign.stage_good_at is not None:
        left = max(campaign.stage_good_at + campaign.soak_s - now, 0)
        return f"Stage {campaign.stage + 1} succeeded; the next stage starts in {span(left)}."
    devices, verb = _devices(reached.counted), "is" if reached.counted == 1 else "are"
    return (
        f"Stage {campaign.stage + 1}: {reached.good:,} of {devices} {verb} done; the next stage "
        f"starts at {100 * campaign.success_share:g} %."
    )


def _devices(count: int) -> str:
    return f"{count:,} device{'' if count == 1 else 's'}"
