"""Requests and responses of the HTTP API. Times are Unix seconds, sizes are bytes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from ..store import models

IDLE = "idle"


class _Row(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class FirmwareOut(_Row):
    """A firmware, or a patch that the cloud sends in its place."""

    id: int
    version: str
    application: str | None
    hardware: str | None
    kind: str
    size: int
    md5: str
    sha256: str
    uploaded_at: float
    whole_id: int | None = Field(description="For a patch: the id of the resulting firmware.")
    base_version: str | None = Field(
        description='For a patch: the version of its base, or "" if it needs none.'
    )


class UploadOut(BaseModel):
    """An uploaded firmware, with warnings about it."""

    firmware: FirmwareOut
    warnings: list[str]


class DeviceOut(BaseModel):
    """A device and the progress towards its target.

    `state` is "idle" without a target, otherwise waiting, pushed, downloading, burning, current
    (runs the target but has not confirmed it), retry, done, failed, cancelled or skipped (runs a
    newer version).
    """

    id: int
    device: str
    product_id: str
    device_name: str
    tags: list[str]
    campaign_id: int | None
    application: str | None = Field(description="null: not known.")
    hardware: str | None = Field(description="null: not known.")
    version: str | None
    state: str
    target: str | None
    firmware_id: int | None
    percent: int | None
    result_code: int | None
    result_msg: str | None
    failure_code: int | None = Field(description="Of the last failure of this update.")
    failure_msg: str | None
    left_target: bool = Field(description="Another version came from the device after its `done`.")
    unasked: bool = Field(description="Nobody has requested the file since the push.")
    pushes: int
    failures: int
    next_push_at: float | None
    first_seen: float | None
    last_seen: float | None
    garbled: int
    status: str = Field(description="accepted, pending or retired.")
    transport: str = Field(description="mqtt, or ddi: how the device learns of an update.")
    flooded_at: float | None = Field(description="When the device last exceeded its rate limit.")
    revision: int


class ReportOut(_Row):
    """A parsed message from a device; `raw` has its first 4,096 bytes as received.

    A percentage that only says that a download has got further is not listed: the device has the
    newest one. A failure has the `percent` at which the download ended.
    """

    id: int
    at: float
    kind: str
    version: str | None
    state: str | None
    percent: int | None
    result_code: int | None
    result_msg: str | None
    raw: str


class PushIn(BaseModel):
    """A firmware to deploy to a device (PRODUCT/NAME, or a unique NAME).

    `new` allows a device that has never reported: the cloud pushes after its first report.
    `include_mismatched` allows a device of another application or other hardware.
    """

    model_config = ConfigDict(extra="forbid")
    device: str
    version: str | None = None
    firmware_id: int | None = Field(default=None, ge=1, lt=2**31)
    application: str | None = None
    new: bool = False
    include_mismatched: bool = False


class PushOut(BaseModel):
    """The device with its new target."""

    device: DeviceOut
    firmware: FirmwareOut


class AttemptOut(_Row):
    """An attempt to update a device, and its result."""

    id: int
    device_id: int
    firmware_id: int
    campaign_id: int | None
    current: bool
    state: str
    percent: int | None
    result_code: int | None
    result_msg: str | None
    pushes: int
    soft_failures: int
    hard_failures: int
    next_push_at: float | None
    created_at: float
    updated_at: float
    ended_at: float | None
    failed_at: float | None
    failure_code: int | None
    failure_msg: str | None


class FailureOut(BaseModel):
    """A failure of a firmware: its code and words, the number of devices that had it, the oldest
    version of the application that had it, and when it was last reported."""

    code: int | None
    message: str
    devices: int
    since: str
    last_at: float


class WhyOut(BaseModel):
    """A device's state, and a sentence that explains why the device is waiting."""

    device: str
    state: str
    why: str


class HealthOut(BaseModel):
    """The cloud's health, and counters of the messages that it has processed.

    `standby`: another process is processing the reports, and this one can take over.
    """

    ok: bool
    problem: str | None
    mqtt_connected: bool
    standby: bool
    counters: dict[str, int]


class ErrorOut(BaseModel):
    """A sentence that explains the problem and what to do."""

    detail: str


def device_out(device: models.Device) -> DeviceOut:
    assignment = device.assignment
    return DeviceOut(
        id=device.id,
        device=device.name,
        product_id=device.product_id,
        device_name=device.device_name,
        tags=[each.tag for each in device.tags],
        campaign_id=assignment.campaign_id if assignment else None,
        application=device.application,
        hardware=device.hardware,
        version=device.version,
        state=assignment.state if assignment else IDLE,
        target=assignment.firmware.version if assignment else None,
        firmware_id=assignment.firmware_id if assignment else None,
        percent=assignment.percent if assignment else None,
        result_code=assignment.result_code if assignment else None,
        result_msg=assignment.result_msg if assignment else None,
        failure_code=assignment.failure_code if assignment else None,
        failure_msg=assignment.failure_msg if assignment else None,
        left_target=bool(assignment and assignment.left_target),
        unasked=bool(assignment and assignment.unasked),
        pushes=assignment.pushes if assignment else 0,
        failures=assignment.soft_failures + assignment.hard_failures if assignment else 0,
        next_push_at=assignment.next_push_at if assignment else None,
        first_seen=device.first_seen,
        last_seen=device.last_seen,
        garbled=device.garbled,
        status=device.status,
        transport=device.transport,
        flooded_at=device.flooded_at,
        revision=device.revision,
    )


def report_out(report: models.Report) -> ReportOut:
    return ReportOut(
        id=report.id,
        at=report.at,
        kind=report.kind,
        version=report.version,
        state=report.state,
        percent=report.percent,
        result_code=report.result_code,
        result_msg=report.result_msg,
        raw=report.raw.decode(errors="backslashreplace"),
    )
