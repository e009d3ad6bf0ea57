"""Predict what the boards of a channel will do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .history import Known
from .index import Delta, Index, Release


@dataclass(frozen=True)
class Step:
    """What `percent` of the boards that run `running` do: update to `release`, or keep it if None.

    `file` is what they download. A release with `not_before` counts from that time on.
    """

    track: str
    target: str | None
    running: str
    percent: int
    release: Release | None
    file: Release | Delta | None


def outlook(index: Index, history: Iterable[Known]) -> list[Step]:
    """Return what boards do, for each version that the channel has ever published."""
    sequences: dict[tuple[str, str | None, str], int] = {}
    for known in history:
        place = (known.track, known.release.target, known.release.version)
        sequences[place] = max(sequences.get(place, 0), known.release.sequence)
    found = []
    for (track, target, running), sequence in sorted(
        sequences.items(), key=lambda item: (item[0][0], item[0][1] or "", item[1])
    ):
        offered = [each for each in index.tracks.get(track, ()) if each.target == target]
        left = 100
        for release in reversed(offered):
            percent = min(release.share, left)
            left -= percent
            if percent:
                found.append(_step(track, target, running, sequence, percent, release))
        if left:
            found.append(Step(track, target, running, left, None, None))
    return found


def _step(
    track: str, target: str | None, running: str, sequence: int, percent: int, release: Release
) -> Step:
    if release.version == running or release.sequence <= sequence:
        return Step(track, target, running, percent, None, None)
    file = next((delta for delta in release.deltas if delta.base == running), release)
    return Step(track, target, running, percent, release, file)
