"""Requests and responses of the HTTP API: the channels that the cloud serves."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from .field_types import Id, Name

YEAR_9999 = 253_402_300_799  # Unix seconds


class DeltaOut(BaseModel):
    """A patch from the version `base`; `size` in bytes."""

    model_config = ConfigDict(from_attributes=True)
    base: str
    file: str
    size: int
    md5: str


class ReleaseOut(BaseModel):
    """A release in a track: `share` in percent of the boards, `not_before` in Unix seconds."""

    model_config = ConfigDict(from_attributes=True)
    version: str
    target: str | None
    sequence: int
    file: str
    size: int
    md5: str
    share: int
    not_before: int | None
    deltas: list[DeltaOut]


class ChannelOut(BaseModel):
    """A channel that the cloud serves at `url`.

    `fills`: the cloud signs the index itself; otherwise it mirrors an index that was signed
    elsewhere. `keys` are the ids of the keys that may sign the index. `serial` is null until
    something is published, `expires` is in Unix seconds. `problem` says why boards get no index.
    """

    product: str
    url: str
    fills: bool
    keys: list[str]
    serial: int | None
    expires: int | None
    tracks: dict[str, list[ReleaseOut]]
    problem: str | None


class OfferIn(BaseModel):
    """The firmware to offer in a track, and to which boards.

    `share` is in percent: by default the percentage of the current offer, or 100 for a
    new offer.
    `not_before` is in Unix seconds: by default the time of the current offer; a time in the
    past removes this limit.
    """

    firmware_id: Id
    track: Name = "stable"
    share: Annotated[int, Field(ge=1, le=100)] | None = None
    not_before: Annotated[int, Field(ge=0, le=YEAR_9999)] | None = None
    deltas: Annotated[int, Field(ge=0, le=8)] = 2


class EndIn(BaseModel):
    """A version that a track offers."""

    version: Name
    track: Name = "stable"


class MissingOut(BaseModel):
    """Names of files."""

    missing: list[str]
