"""Requests and responses of the HTTP API: campaigns. Times are Unix seconds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, field_validator, model_validator

from ...common import campaign_options as options
from .field_types import Id, In, Name, QueryText, Row, Share, Span, finite
from .firmware_schemas import FirmwareOut


class StageIn(In):
    """The cumulative size of a stage: a number of devices or a percentage."""

    count: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    percent: Annotated[float, Field(gt=0, le=100), AfterValidator(finite)] | None = None

    @model_validator(mode="after")
    def _one(self) -> StageIn:
        if (self.count is None) == (self.percent is None):
            raise ValueError("a stage must have either a count or a percent")
        return self


_STAGES = [StageIn(**each) for each in options.stages(options.STAGES)]


class CampaignIn(In):
    """Firmware to roll out to the devices of a group or a query.

    stages          cumulative sizes, which grow up to 100 %
    success_share   share of the devices in the stages so far that must succeed before the next
                    stage starts
    soak_s          how long to wait after `success_share` is reached
    stop_share      failure rate that stops the campaign; null: never
    stop_least      minimum number of finished devices before `stop_share` applies
    stop_on         `first`: a device counts as failed after its first failed trial, even if the
                    cloud retries it; `last`: only after the cloud has given up on it
    timeout_s       time from its first push after which an unfinished device counts as failed
    active_most     maximum number of simultaneous downloads
    starts_per_min  maximum number of updates to start per minute
    only_outdated   skip devices that run this version or a newer one
    start_at        start time in Unix seconds; by default the campaign starts immediately
    include_mismatched  include devices of another application or other hardware
    draft           only create the campaign; start it later
    plan            the `mark` of the plan that the user has reviewed: 409 if the plan has changed
                    since
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
    start_at: Annotated[float, Field(ge=0, le=2**40), AfterValidator(finite)] | None = None
    draft: bool = False
    plan: Annotated[str, Field(max_length=64)] | None = None

    @field_validator("stages")
    @classmethod
    def _grow(cls, given: list[StageIn]) -> list[StageIn]:
        options.expect_growth([each.model_dump(exclude_none=True) for each in given])
        return given


class StartIn(BaseModel):
    """`plan` is the `mark` of the plan that the user has reviewed: 409 if the plan has changed
    since.
    """

    plan: Annotated[str, Field(max_length=64)] | None = None


class PlanOut(BaseModel):
    """What a campaign would do now. `sizes` are the numbers of devices reached by the end of each
    stage; `left_out` counts, by reason, devices that match the query but are not in the campaign.
    """

    devices: int
    sizes: list[int]
    matching: int
    left_out: dict[str, int]
    unknown: int
    mark: str
    sentences: list[str]


class TotalsOut(BaseModel):
    """Device counts of a campaign or a stage, as the console shows them: `devices` is the sum of
    `done`, `failed`, `remaining` and `excluded`. The cloud will retry `to_retry` of the failed
    devices. `summary` has the numbers in words.
    """

    devices: int
    done: int
    failed: int
    to_retry: int
    remaining: int
    excluded: int
    summary: str


class StageOut(BaseModel):
    """Device counts of a stage: `open` devices are unfinished, and `left_out` devices have left
    the campaign. `failing` counts the open devices that have failed at least once, and `given_up`
    the devices that have left after a failure.
    """

    members: int
    good: int
    failed: int
    open: int
    left_out: int
    failing: int
    given_up: int
    totals: TotalsOut


class CampaignOut(Row):
    """A campaign and its progress. `state`: draft, scheduled, running, paused, stopped
    (automatically; see `reason`), finished or cancelled. `stage` counts from 0. While `selecting`
    is true, a started campaign is still selecting its devices, and `progress` counts the devices
    selected so far. `waits_for` is a sentence about what the campaign is waiting for, or empty."""

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
    totals: TotalsOut
    states: dict[str, int]
    waits_for: str


class RetryOut(BaseModel):
    """The number of devices being retried."""

    devices: int
