"""Remember every release that a channel has published, in `releases.json`.

Boards do not read this file. The commands need it to choose sequences, bases of deltas and the
release to which a withdrawal returns.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common import atomic_write
from .index import ChannelError, Delta, Release

HISTORY = "releases.json"


@dataclass(frozen=True)
class Known:
    """A release that was ever published, and the track."""

    track: str
    release: Release
    payload_sha256: str
    withdrawn: bool = False


def read(folder: Path) -> list[Known]:
    """Return every release that a channel has published, oldest first. Raises ChannelError."""
    found = []
    try:
        for each in _load(folder)["releases"]:
            values = dict(each["release"])
            values["deltas"] = tuple(Delta(**delta) for delta in values["deltas"])
            found.append(Known(**{**each, "release": Release(**values)}))
    except (KeyError, TypeError) as error:
        raise ChannelError(
            f"{folder / HISTORY} is damaged: restore it from a backup ({error!r})"
        ) from None
    return found


def valid_days(folder: Path) -> int:
    """Return the number of days for which an index is valid; 0: for ever. Raises ChannelError."""
    try:
        return int(_load(folder)["valid_days"])
    except (KeyError, TypeError, ValueError) as error:
        raise ChannelError(
            f"{folder / HISTORY} is damaged: restore it from a backup ({error!r})"
        ) from None


def write(folder: Path, days: int, releases: Sequence[Known]) -> None:
    """Replace the file. Raises OSError."""
    values = {"valid_days": days, "releases": [dataclasses.asdict(known) for known in releases]}
    atomic_write.write(folder / HISTORY, json.dumps(values, indent=1) + "\n")


def _load(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / HISTORY).read_bytes()))
    except (OSError, TypeError, ValueError) as error:
        raise ChannelError(
            f"{folder / HISTORY} cannot be read: restore it from a backup ({error})"
        ) from None
