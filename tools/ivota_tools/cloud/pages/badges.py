"""The states of devices and campaigns as the pages show them: a word with a mark."""

from __future__ import annotations

from typing import NamedTuple

from markupsafe import Markup

from ..api.schemas import IDLE
from ..rollout import assignment_rules, campaign_counts, campaign_rules
from ..store import device_registry

FLOODED = "flooded"  # recently


class Look(NamedTuple):
    """How a state is shown: `tone` selects the colour and the mark, never the colour alone."""

    text: str
    tone: str  # calm, info, good, warn, bad


DEVICE = {
    IDLE: Look("no target", "calm"),
    assignment_rules.WAITING: Look("waiting", "info"),
    assignment_rules.PUSHED: Look("pushed", "info"),
    assignment_rules.DOWNLOADING: Look("downloading", "info"),
    assignment_rules.BURNING: Look("installing", "info"),
    assignment_rules.CURRENT: Look("confirming", "info"),
    assignment_rules.RETRY: Look("will retry", "warn"),
    assignment_rules.DONE: Look("up to date", "good"),
    assignment_rules.FAILED: Look("failed", "bad"),
    assignment_rules.CANCELLED: Look("cancelled", "calm"),
    assignment_rules.SKIPPED: Look("already newer", "calm"),
    assignment_rules.SUPERSEDED: Look("replaced", "calm"),
    campaign_counts.QUEUED: Look("later stage", "calm"),
    device_registry.PENDING: Look("pending", "warn"),
    device_registry.RETIRED: Look("retired", "calm"),
    FLOODED: Look("rate limited", "bad"),
}

CAMPAIGN = {
    campaign_rules.DRAFT: Look("draft", "calm"),
    campaign_rules.SCHEDULED: Look("scheduled", "info"),
    campaign_rules.RUNNING: Look("running", "info"),
    campaign_rules.PAUSED: Look("paused", "warn"),
    campaign_rules.STOPPED: Look("stopped automatically", "bad"),
    campaign_rules.FINISHED: Look("finished", "good"),
    campaign_rules.CANCELLED: Look("cancelled", "calm"),
}


def badge(look: Look) -> Markup:
    """Return a state as a word with a mark before it."""
    return Markup('<span class="badge {}"><span class="mark" aria-hidden="true"></span>{}</span>'
                  ).format(look.tone, look.text)  # fmt: skip


def device_badge(state: str, stalled: bool = False) -> Markup:
    look = DEVICE.get(state, Look(state, "calm"))
    return badge(Look(f"{look.text}, stalled", "warn") if stalled else look)


def attempt_badge(state: str) -> Markup:
    """Return the badge of one of several attempts: done stays done, whatever happens later."""
    return badge(Look("done", "good")) if state == assignment_rules.DONE else device_badge(state)


def campaign_badge(state: str) -> Markup:
    return badge(CAMPAIGN.get(state, Look(state, "calm")))


_ORDER = (
    assignment_rules.DONE,
    assignment_rules.CURRENT,
    assignment_rules.BURNING,
    assignment_rules.DOWNLOADING,
    assignment_rules.PUSHED,
    assignment_rules.WAITING,
    campaign_counts.QUEUED,
    assignment_rules.RETRY,
    assignment_rules.FAILED,
)


def in_order(states: dict[str, int]) -> list[tuple[str, int]]:
    """Return states with their numbers of devices, from done to failed; other states last."""
    place = {state: number for number, state in enumerate(_ORDER)}
    return sorted(states.items(), key=lambda each: (place.get(each[0], len(place)), each[0]))
