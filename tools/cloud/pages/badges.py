"""The states of devices and campaigns, as they are shown: a word with a mark."""

from __future__ import annotations

from typing import NamedTuple

from markupsafe import Markup

from .. import counts, rollout, stages
from ..schemas import IDLE


class Look(NamedTuple):
    """How a state is shown: `tone` chooses colour and mark, never the colour alone."""

    text: str
    tone: str  # calm, info, good, warn, bad


DEVICE = {
    IDLE: Look("no target", "calm"),
    rollout.WAITING: Look("waiting", "info"),
    rollout.PUSHED: Look("pushed", "info"),
    rollout.DOWNLOADING: Look("downloading", "info"),
    rollout.BURNING: Look("installing", "info"),
    rollout.CURRENT: Look("confirming", "info"),
    rollout.RETRY: Look("will retry", "warn"),
    rollout.DONE: Look("up to date", "good"),
    rollout.FAILED: Look("failed", "bad"),
    rollout.CANCELLED: Look("cancelled", "calm"),
    rollout.SKIPPED: Look("newer already", "calm"),
    rollout.SUPERSEDED: Look("replaced", "calm"),
    counts.QUEUED: Look("later stage", "calm"),
}

CAMPAIGN = {
    stages.DRAFT: Look("draft", "calm"),
    stages.SCHEDULED: Look("scheduled", "info"),
    stages.RUNNING: Look("running", "info"),
    stages.PAUSED: Look("paused", "warn"),
    stages.STOPPED: Look("stopped itself", "bad"),
    stages.FINISHED: Look("finished", "good"),
    stages.CANCELLED: Look("cancelled", "calm"),
}


def badge(look: Look) -> Markup:
    """A state as a word with a mark before it."""
    return Markup('<span class="badge {}"><span class="mark" aria-hidden="true"></span>{}</span>'
                  ).format(look.tone, look.text)  # fmt: skip


def device_badge(state: str, stalled: bool = False) -> Markup:
    look = DEVICE.get(state, Look(state, "calm"))
    return badge(Look(f"{look.text}, silent", "warn") if stalled else look)


def attempt_badge(state: str) -> Markup:
    """One of several attempts: done, whatever came after it."""
    return badge(Look("done", "good")) if state == rollout.DONE else device_badge(state)


def campaign_badge(state: str) -> Markup:
    return badge(CAMPAIGN.get(state, Look(state, "calm")))


_ORDER = (rollout.DONE, rollout.CURRENT, rollout.BURNING, rollout.DOWNLOADING, rollout.PUSHED,
          rollout.WAITING, counts.QUEUED, rollout.RETRY, rollout.FAILED)  # fmt: skip


def in_order(states: dict[str, int]) -> list[tuple[str, int]]:
    """States with their numbers of devices: the good end first, what is out of it last."""
    place = {state: number for number, state in enumerate(_ORDER)}
    return sorted(states.items(), key=lambda each: (place.get(each[0], len(place)), each[0]))
