"""What the HTTP API says and is told of groups, campaigns, tokens and the audit log."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ..mqtt.protocol import NAME_MOST
from ..store.models import QUERY_MOST, TAG_MOST
from .schemas import FirmwareOut

YEAR_S = 366 * 86400


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("has control characters")
    return text


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("is no number")
    return number


Name = Annotated[str, Field(min_length=1, max_length=NAME_MOST), AfterValidator(_printable)]
Tag = Annotated[str, Field(min_length=1, max_length=TAG_MOST), AfterValidator(_printable)]
QueryText = Annotated[str, Field(max_length=QUERY_MOST), AfterValidator(_printable)]
Share = Annotated[float, Field(ge=0, le=1), AfterValidator(_finite)]
Span = Annotated[float, Field(ge=0, le=YEAR_S), AfterValidator(_finite)]
Role = Literal["viewer", "operator", "admin"]
Id = Annotated[int, Field(ge=1, lt=2**31)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Row(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class TagsIn(_In):
    """Tags to give and to take away."""

    add: list[Tag] = Field(default=[], max_length=100)
    remove: list[Tag] = Field(default=[], max_length=100)


class SecretIn(_In):
    """The device's secret in base64, as the vendor's cloud gives it; null takes it away."""

    secret: Annotated[str, Field(min_length=1, max_length=256)] | None


class GroupIn(_In):
    """A name for a query; see the documentation of `query`."""

    name: Name
    query: QueryText


class GroupOut(_Row):
    """A group, and how many devices it means now."""

    id: int
    name: str
    query: str
    devices: int


class StageIn(_In):
    """How many devices are reached by the end of a stage, in all."""

    count: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    percent: Annotated[float, Field(gt=0, le=100), AfterValidator(_finite)] | None = None

    @model_validator(mode="after")
    def _one(self) -> StageIn:
        if (self.count is None) == (self.percent is None):
            raise ValueError("a stage has a count or a percent")
        return self


class CampaignIn(_In):
    """One firmware for the devices of a group or a query.

    stages          a last one of 100 % need not be named
    success_share   of the devices reached that must be done before the next stage begins
    soak_s          how long after that
    stop_share, stop_least   it stops when this share of those that ended failed, once so many have
    timeout_s       a device that is not done so long after its first push has failed
    active_most     devices in their download at a time
    starts_per_min  devices that begin in any minute
    only_outdated   leaves out what runs this version or a newer one
    start_at        Unix seconds; without it, at once, or with `draft` when it is started
    """

    name: Name
    version: Annotated[str, Field(max_length=32)] | None = None
    firmware_id: Id | None = None
    application: Name | None = None
    group: Name | None = None
    query: QueryText | None = None
    stages: list[StageIn] = Field(default=[], max_length=100)
    success_share: Share = 0.9
    soak_s: Span = 0.0
    stop_share: Share | None = 0.2
    stop_least: Annotated[int, Field(ge=1, le=10_000_000)] = 10
    timeout_s: Span | None = None
    active_most: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    starts_per_min: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    only_outdated: bool = False
    start_at: Annotated[float, Field(ge=0, le=2**40), AfterValidator(_finite)] | None = None
    draft: bool = False


class StageOut(BaseModel):
    """A stage in figures: `open` are still to end, `left_out` no longer belong to the campaign."""

    members: int
    good: int
    failed: int
    open: int
    left_out: int


class CampaignOut(_Row):
    """A campaign and how far it is. `state`: draft, scheduled, running, paused, stopped (by its
    own rule; `reason` says which), finished or cancelled. `stage` counts from 0."""

    id: int
    name: str
    firmware: FirmwareOut
    query: str
    state: str
    reason: str
    stages: list[dict[str, Any]]
    stage: int
    success_share: float
    soak_s: float
    stop_share: float | None
    stop_least: int
    timeout_s: float | None
    active_most: int | None
    starts_per_min: int | None
    only_outdated: bool
    start_at: float | None
    created_at: float
    started_at: float | None
    ended_at: float | None
    progress: list[StageOut]
    states: dict[str, int]


class RetryOut(BaseModel):
    """How many devices are tried again."""

    devices: int


class AcceptOut(BaseModel):
    """How many devices were accepted."""

    devices: int


class TokenIn(_In):
    """`viewer` may look, `operator` may change what devices run, `admin` may let others in."""

    name: Name
    role: Role = "operator"


class TokenOut(_Row):
    """A token, without the token."""

    id: int
    name: str
    role: str
    created_at: float


class NewTokenOut(TokenOut):
    """With the token: this is the only time it is shown."""

    token: str


class AuditOut(_Row):
    """One change, who made it, and what it was; `detail` is JSON or empty."""

    id: int
    at: float
    who: str
    action: str
    subject: str
    detail: str


class UserIn(_In):
    """Who may sign in to the console; names are in lower case."""

    name: Name
    password: Annotated[str, Field(max_length=256)]
    role: Role = "operator"


class UserChange(_In):
    """What is null stays as it is."""

    role: Role | None = None
    password: Annotated[str, Field(max_length=256)] | None = None


class UserOut(_Row):
    """A user, without the password."""

    id: int
    name: str
    role: str
    created_at: float
    signed_in_at: float | None
