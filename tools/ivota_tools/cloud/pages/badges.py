"""The states of devices and campaigns as the pages show them: a word with a mark."""

from __future__ import annotations

from typing import NamedTuple

from markupsafe import Markup

from ..rollout import assignment_states, campaign_counts, campaign_rules
from ..rollout.device_update_states import IDLE
from ..store import device_acceptance
from ..store.models import Assignment

FLOODED = "flooded"  # recently


class Look(NamedTuple):
    """How a state is shown: `tone` selects the colour and the mark, never the colour alone."""

    text: str
    tone: str  # calm, info, good, warn, bad


DEVICE = {
    IDLE: Look("no target", "calm"),
    assignment_states.WAITING: Look("waiting", "info"),
    assignment_states.PUSHED: Look("pushed", "info"),
    assignment_states.DOWNLOADING: Look("downloading", "info"),
    assignment_states.BURNING: Look("installing", "info"),
    assignment_states.CURRENT: Look("confirming", "info"),
    assignment_states.RETRY: Look("will retry", "warn"),
    assignment_states.DONE: Look("up to date", "good"),
    assignment_states.FAILED: Look("failed", "bad"),
    assignment_states.CANCELLED: Look("cancelled", "calm"),
    assignment_states.SKIPPED: Look("already newer", "calm"),
    assignment_states.SUPERSEDED: Look("replaced", "calm"),
    campaign_counts.QUEUED: Look("later stage", "calm"),
    device_acceptance.PENDING: Look("pending", "warn"),
    device_acceptance.RETIRED: Look("retired", "calm"),
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


def target_badge(assignment: Assignment | None, stalled: bool = False) -> Markup:
    """Return the badge of a device with this current attempt."""
    if assignment and assignment.state == assignment_states.DONE and assignment.left_target:
        return badge(Look("off target", "warn"))
    return device_badge(assignment.state if assignment else IDLE, stalled)


def attempt_badge(state: str) -> Markup:
    """Return the badge of one of several attempts: done stays done, whatever happens later."""
    return badge(Look("done", "good")) if state == assignment_states.DONE else device_badge(state)


def campaign_badge(state: str) -> Markup:
    return badge(CAMPAIGN.get(state, Look(state, "calm")))


_ORDER = (
    assignment_states.DONE,
    assignment_states.CURRENT,
    assignment_states.BURNING,
    assignment_states.DOWNLOADING,
    assignment_states.PUSHED,
    assignment_states.WAITING,
    campaign_counts.QUEUED,
    assignment_states.RETRY,
    assignment_states.FAILED,
)


def in_order(states: dict[str, int]) -> list[tuple[str, int]]:
    """Return states with their numbers of devices, from done to failed; other states last."""
    place = {state: number for number, state in enumerate(_ORDER)}
    return sorted(states.items(), key=lambda each: (place.get(each[0], len(place)), each[0]))
