"""Change what the tracks of an index offer. Nothing here signs or touches a file."""

from __future__ import annotations

import dataclasses

from .index import ChannelError, Index, Release


def offered(index: Index, track: str, version: str) -> Release:
    """Return a track's latest release of this version. Raises ChannelError."""
    if track not in index.tracks:
        raise ChannelError(f"the channel has no track {track!r}")
    found = [each for each in index.tracks[track] if each.version == version]
    if not found:
        listed = ", ".join(each.version for each in index.tracks[track]) or "nothing"
        raise ChannelError(f"{track} does not offer {version}; it offers {listed}")
    return found[-1]


def add(index: Index, track: str, new: Release) -> tuple[Index, list[Release]]:
    """Offer a release; return the index and the rollouts that end because of it.

    A release for all boards replaces the others of its target. A rollout stays beside the first
    of them, which the boards outside of its share get.
    """
    kept = list(index.tracks.get(track, ()))
    same = [each for each in kept if each.target == new.target]
    ended = [] if _is_for_all(new) else same[1:]
    for each in same if _is_for_all(new) else ended:
        kept.remove(each)
    return _with(index, track, [*kept, new]), ended


def remove(index: Index, track: str, release: Release) -> Index:
    """Stop offering a release."""
    return _with(index, track, [each for each in index.tracks.get(track, ()) if each != release])


def share(index: Index, track: str, old: Release, percent: int) -> tuple[Index, Release]:
    """Offer a release to another percentage of the boards. Raises ChannelError.

    If that is all of them, it replaces those before it for its target. Newer ones stay.
    """
    check_share(percent)
    new = dataclasses.replace(old, share=percent)
    offers = index.tracks[track]
    place = offers.index(old)
    before, after = offers[:place], offers[place + 1 :]
    if _is_for_all(new):
        before = tuple(each for each in before if each.target != new.target)
    return _with(index, track, [*before, new, *after]), new


def check_share(percent: int) -> None:
    """Raise ChannelError unless it is 1 to 100."""
    if not 1 <= percent <= 100:
        raise ChannelError(f"the share must be 1 to 100 percent, not {percent}")


def _is_for_all(release: Release) -> bool:
    return release.share == 100 and release.not_before is None


def _with(index: Index, track: str, releases: list[Release]) -> Index:
    return dataclasses.replace(index, tracks={**index.tracks, track: tuple(releases)})
