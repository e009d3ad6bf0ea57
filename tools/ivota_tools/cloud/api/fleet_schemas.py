"""Requests and responses of the HTTP API: groups, campaigns, access and the audit log."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from ...common import campaign_options as options
from ..mqtt.messages import HARDWARE_MOST, NAME_MOST
from ..store.models import QUERY_MOST, TAG_MOST
from .schemas import DeviceOut, FirmwareOut

YEAR_S = 366 * 86400


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not contain control characters")
    return text


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


Name = Annotated[str, Field(min_length=1, max_length=NAME_MOST), AfterValidator(_printable)]
Tag = Annotated[str, Field(min_length=1, max_length=TAG_MOST), AfterValidator(_printable)]
QueryText = Annotated[str, Field(max_length=QUERY_MOST), AfterValidator(_printable)]
Share = Annotated[float, Field(ge=0, le=1), AfterValidator(_finite)]
Span = Annotated[float, Field(ge=0, le=YEAR_S), AfterValidator(_finite)]
Hardware = Annotated[
    str, Field(min_length=1, max_length=HARDWARE_MOST), AfterValidator(_printable)
]
Role = Literal["viewer", "operator", "admin"]
Id = Annotated[int, Field(ge=1, lt=2**31)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Row(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class TagsIn(_In):
    """Tags to add and to remove."""

    add: list[Tag] = Field(default=[], max_length=100)
    remove: list[Tag] = Field(default=[], max_length=100)


class DeviceIn(_In):
    """A device to enroll, as PRODUCT/NAME."""

    device: Annotated[str, Field(min_length=3, max_length=2 * NAME_MOST + 1)]
    application: Name | None = None
    hardware: Hardware | None = None
    tags: list[Tag] = Field(default=[], max_length=100)


class DevicesIn(_In):
    """Devices to enroll, all of them or none."""

    devices: list[DeviceIn] = Field(min_length=1, max_length=1000)


class EnrolledOut(BaseModel):
    """A new device, and its board.json with its secret, if it needs one."""

    device: DeviceOut
    board: dict[str, Any]


class KindIn(_In):
    """What a device is for; a field that is left out keeps its value, "" makes it unknown."""

    application: Annotated[str, Field(max_length=NAME_MOST), AfterValidator(_printable)] | None = (
        None
    )
    hardware: (
        Annotated[str, Field(max_length=HARDWARE_MOST), AfterValidator(_printable)] | None
    ) = None


class SecretIn(_In):
    """The device's secret in base64, as the vendor's cloud issues it."""

    secret: Annotated[str, Field(min_length=1, max_length=256)]


class GroupIn(_In):
    """A name for a query; see the documentation of `query`."""

    name: Name
    query: QueryText


class GroupOut(_Row):
    """A group and the number of devices that it contains now."""

    id: int
    name: str
    query: str
    devices: int


class StageIn(_In):
    """The cumulative size of a stage: a number of devices or a percentage."""

    count: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    percent: Annotated[float, Field(gt=0, le=100), AfterValidator(_finite)] | None = None

    @model_validator(mode="after")
    def _one(self) -> StageIn:
        if (self.count is None) == (self.percent is None):
            raise ValueError("a stage must have either a count or a percent")
        return self


_STAGES = [StageIn(**each) for each in options.stages(options.STAGES)]


class CampaignIn(_In):
    """A firmware to roll out to the devices of a group or a query.

    stages          cumulative sizes, which grow up to 100 %
    success_share   share of the devices reached so far that must be done before the next stage
    soak_s          how long to wait after `success_share` is reached
    stop_share      failure rate that stops the campaign; null: never
    stop_least      minimum number of finished devices before `stop_share` applies
    stop_on         `first`: also devices whose trial has failed once and is retried count as
                    failed; `last`: only devices that the cloud has given up
    timeout_s       time from its first push after which an unfinished device counts as failed
    active_most     maximum number of simultaneous downloads
    starts_per_min  maximum number of devices to start per minute
    only_outdated   skip devices that run this version or a newer one
    start_at        start time in Unix seconds; by default the campaign starts immediately
    include_mismatched  also devices of another application or other hardware
    draft           only create the campaign, to start it later
    plan            the `mark` of a plan that somebody has seen: 409 if the plan is another now
    """

    name: Name
    version: Annotated[str, Field(max_length=32)] | None = None
    firmware_id: Id | None = None
    application: Name | None = None
    group: Name | None = None
    query: QueryText | None = None
    stages: list[StageIn] = Field(default=_STAGES, max_length=100)
    success_share: Share = options.share(options.SUCCESS)
    soak_s: Span = options.span(options.SOAK)
    stop_share: Share | None = options.share(options.STOP)
    stop_least: Annotated[int, Field(ge=1, le=10_000_000)] = options.LEAST
    stop_on: Literal["first", "last"] = options.STOP_ON
    timeout_s: Span | None = options.span(options.TIMEOUT)
    active_most: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    starts_per_min: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    only_outdated: bool = options.ONLY_OUTDATED
    include_mismatched: bool = False
    start_at: Annotated[float, Field(ge=0, le=2**40), AfterValidator(_finite)] | None = None
    draft: bool = False
    plan: Annotated[str, Field(max_length=64)] | None = None

    @field_validator("stages")
    @classmethod
    def _grow(cls, given: list[StageIn]) -> list[StageIn]:
        options.expect_growth([each.model_dump(exclude_none=True) for each in given])
        return given


class PlanOut(BaseModel):
    """What a campaign would do now. `sizes` are the numbers of devices reached by the end of each
    stage, `left_out` counts devices that match the query but are not in the campaign, by reason.
    """

    devices: int
    sizes: list[int]
    matching: int
    left_out: dict[str, int]
    unknown: int
    mark: str
    sentences: list[str]


class StageOut(BaseModel):
    """Device counts of a stage: `open` are unfinished, `left_out` have left the campaign.

    `failing` devices are open and have failed at least once; `given_up` ones left after a failure.
    """

    members: int
    good: int
    failed: int
    open: int
    left_out: int
    failing: int
    given_up: int


class CampaignOut(_Row):
    """A campaign and its progress. `state`: draft, scheduled, running, paused, stopped
    (automatically; see `reason`), finished or cancelled. `stage` counts from 0. While `selecting`,
    a started campaign still selects its devices, and `progress` has those it has so far."""

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
    stop_on: str
    timeout_s: float | None
    active_most: int | None
    starts_per_min: int | None
    only_outdated: bool
    mismatched: bool
    start_at: float | None
    created_at: float
    started_at: float | None
    ended_at: float | None
    selecting: bool
    progress: list[StageOut]
    states: dict[str, int]


class RetryOut(BaseModel):
    """The number of devices being retried."""

    devices: int


class AcceptOut(BaseModel):
    """The number of devices accepted."""

    devices: int


class TokenIn(_In):
    """A new token. `viewer` can view everything, `operator` can also change what devices run,
    `admin` can also manage users and tokens."""

    name: Name
    role: Role = "operator"


class TokenOut(_Row):
    """A token's name and role, without the token itself."""

    id: int
    name: str
    role: str
    created_at: float


class NewTokenOut(TokenOut):
    """A new token, including the token itself, which cannot be retrieved again."""

    token: str


class DdiTokenIn(_In):
    """A new token of DDI: of the device PRODUCT/NAME, or of a gateway."""

    name: Name
    device: Annotated[str, Field(min_length=1, max_length=2 * NAME_MOST + 1)] | None = None


class DdiTokenOut(BaseModel):
    """A token of DDI, without the token itself; `device` is null for a gateway's."""

    id: int
    name: str
    device: str | None
    created_at: float


class NewDdiTokenOut(DdiTokenOut):
    """A new token of DDI, including the token itself, which cannot be retrieved again."""

    token: str


class AuditOut(_Row):
    """An entry of the audit log; `detail` is JSON or empty."""

    id: int
    at: float
    who: str
    action: str
    subject: str
    detail: str


class UserIn(_In):
    """A new console user; names are in lower case."""

    name: Name
    password: Annotated[str, Field(max_length=256)]
    role: Role = "operator"


class UserChange(_In):
    """A change to a user; null keeps the current value. `second_factor` can only be turned off."""

    role: Role | None = None
    password: Annotated[str, Field(max_length=256)] | None = None
    second_factor: Literal[False] | None = None


class UserOut(_Row):
    """A console user, without the password. `by_provider`: signs in at the identity provider."""

    id: int
    name: str
    role: str
    by_provider: bool
    second_factor: bool
    created_at: float
    signed_in_at: float | None


class WebhookMessageOut(_Row):
    """A message for a webhook. `next_at` is the time of its next try, or null if it was given up.

    `target` tells webhooks of one host apart.
    """

    id: int
    at: float
    event: str
    host: str
    target: str
    tries: int
    next_at: float | None
    error: str


class CountOut(BaseModel):
    """How many messages an action concerned."""

    count: int
