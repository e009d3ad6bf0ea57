"""Describe a channel that the cloud serves, for the API and the console."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ...channel.index import ChannelError, Index, Release
from .channel_files import ServedChannel


@dataclass(frozen=True)
class ChannelStatus:
    """`problem` says why boards get no index or no firmware, or is None.

    `fills`: the cloud signs the index itself.
    """

    product: str
    url: str
    fills: bool
    keys: tuple[str, ...]
    index: Index | None
    problem: str | None

    @property
    def offered(self) -> list[tuple[str, Release]]:
        """Return each track with each of its releases."""
        tracks = self.index.tracks if self.index else {}
        return [(track, each) for track, releases in tracks.items() for each in releases]


def status(channel: ServedChannel, public_url: str) -> ChannelStatus:
    index: Index | None = None
    problem: str | None = None
    try:
        served = channel.served()
        index = served.index if served else None
    except ChannelError as error:
        problem = str(error)
    if index:
        lacking = channel.missing(index)
        if index.expires is not None and index.expires <= time.time():
            problem = "its index has expired"
        elif lacking:
            problem = f"{lacking[0]} is missing or incomplete"
    own = (channel.signing.public,) if channel.signing else ()
    return ChannelStatus(
        product=channel.product,
        url=channel.url(public_url),
        fills=channel.signing is not None,
        keys=tuple(dict.fromkeys(key.id for key in (*channel.keys, *own))),
        index=index,
        problem=problem,
    )
