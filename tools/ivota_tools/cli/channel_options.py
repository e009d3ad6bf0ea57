"""Arguments and options that several commands of `ivota channel` share."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer

TIME_FORMATS = ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"]

Folder = Annotated[Path, typer.Argument(help="The channel's folder.")]
Version = Annotated[str, typer.Argument(help="Version of a release that the track offers.")]
Key = Annotated[
    Path | None,
    typer.Option(
        help="File with the channel's private key, from `ivota keygen`. Default: IVOTA_KEY, which "
        "contains the key itself."
    ),
]
OwnVersion = Annotated[
    str | None,
    typer.Option("--version", help="Version. Optional for a file that contains its version."),
]
Target = Annotated[
    str | None,
    typer.Option(help="Offer the version only to boards with this target in their configuration."),
]
Track = Annotated[str, typer.Option(help="Track of releases, such as stable or beta.")]
Share = Annotated[int, typer.Option(help="Percentage of boards that get this version.")]
NotBefore = Annotated[
    datetime | None,
    typer.Option(
        formats=TIME_FORMATS,
        help="Earliest time, in UTC, to install this version, for example 2026-05-01T03:00:00.",
    ),
]
Deltas = Annotated[
    int, typer.Option(min=0, max=8, help="Number of earlier releases to create deltas from.")
]


def unix_time(moment: datetime | None) -> int | None:
    """Return a time that was given in UTC in Unix seconds."""
    return int(moment.replace(tzinfo=timezone.utc).timestamp()) if moment else None
