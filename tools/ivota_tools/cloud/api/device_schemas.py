"""Requests and responses of the HTTP API: devices and their reports. Times are Unix seconds."""

from __future__ import annotations

import time
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field

from ..mqtt.messages import HARDWARE_MOST, NAME_MOST
from ..rollout import device_update_states
from ..store import models
from .field_types import Hardware, In, Name, Row, Tag, printable


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
    chip: str | None = Field(description="Chip of an ESP32, as reported; null: not known.")
    version: str | None
    state: str
    target: str | None
    firmware_id: int | None
    percent: int | None
    result_code: int | None
    result_msg: str | None
    failure_code: int | None = Field(description="Result code of this update's last failure.")
    failure_msg: str | None
    left_target: bool = Field(description="The device has reported another version since `done`.")
    unasked: bool = Field(description="No device has requested the file since the push.")
    pushes: int
    failures: int
    next_push_at: float | None
    first_seen: float | None
    last_seen: float | None
    garbled: int
    attention: str | None = Field(
        description="Why the device needs attention: failed, stalled (no report during an "
        "update), retry, or null."
    )
    status: str = Field(description="accepted, pending or retired.")
    transport: str = Field(description="How the device gets its updates: mqtt or ddi.")
    flooded_at: float | None = Field(description="When the device last exceeded its rate limit.")
    report_interval_s: int | None = Field(
        description="How often the device reports its version, in seconds, as set by the "
        "cloud's last answer; null: the device's own configuration applies."
    )
    revision: int


class ReportOut(Row):
    """A parsed message from a device; `raw` has its first 4,096 bytes as received.

    Reports that only contain a higher percentage are not listed: `percent` of the device is the
    newest percentage. In a failure, `percent` says how far the download came.
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


class TagsIn(In):
    """Tags to add and to remove."""

    add: list[Tag] = Field(default=[], max_length=100)
    remove: list[Tag] = Field(default=[], max_length=100)


class DeviceIn(In):
    """A device to enroll, as PRODUCT/NAME."""

    device: Annotated[str, Field(min_length=3, max_length=2 * NAME_MOST + 1)]
    application: Name | None = None
    hardware: Hardware | None = None
    tags: list[Tag] = Field(default=[], max_length=100)


class DevicesIn(In):
    """Devices to enroll, all of them or none."""

    devices: list[DeviceIn] = Field(min_length=1, max_length=1000)


class EnrolledOut(BaseModel):
    """A new device, and its board.json with its secret, if it needs one."""

    device: DeviceOut
    board: dict[str, Any]


class KindIn(In):
    """A device's application and hardware; an omitted field keeps its value, "" means unknown."""

    application: Annotated[str, Field(max_length=NAME_MOST), AfterValidator(printable)] | None = (
        None
    )
    hardware: Annotated[str, Field(max_length=HARDWARE_MOST), AfterValidator(printable)] | None = (
        None
    )


class SecretIn(In):
    """The device's secret in base64, as the vendor's cloud issues it."""

    secret: Annotated[str, Field(min_length=1, max_length=256)]


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
        chip=device.chip,
        version=device.version,
        state=assignment.state if assignment else device_update_states.IDLE,
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
        attention=device_update_states.attention(assignment, time.time()),
        status=device.status,
        transport=device.transport,
        flooded_at=device.flooded_at,
        report_interval_s=device.report_interval_s,
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
