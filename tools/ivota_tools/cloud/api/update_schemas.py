"""Requests and responses of the HTTP API: pushes and update attempts. Times are Unix seconds."""

from __future__ import annotations

from pydantic import BaseModel, Field

from .device_schemas import DeviceOut
from .field_types import In, Row
from .firmware_schemas import FirmwareOut


class PushIn(In):
    """Firmware to deploy to a device (PRODUCT/NAME, or a unique NAME).

    `new` allows a device that has never reported: the cloud pushes after its first report.
    `include_mismatched` allows a device of another application or other hardware.
    """

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


class FailureOut(Row):
    """A failure of an attempt; `at` is its Unix time."""

    at: float
    code: int | None
    message: str | None


class AttemptOut(Row):
    """An attempt to update a device, and its result.

    `failures` lists its first 100 failures, oldest first, without those that repeat the reason of
    the previous one. `failed_at`, `failure_code` and `failure_msg` are of the last failure.
    """

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
    failures: list[FailureOut]


class WhyOut(BaseModel):
    """A device's state, and a sentence that explains why the device is waiting.

    `watchdog_resets` counts how often the watchdog has reset the board outside a trial, and
    `watchdog_reset_at` is the Unix time of the last of these reports.
    """

    device: str
    state: str
    why: str
    watchdog_resets: int
    watchdog_reset_at: float | None
    group_interval_s: int | None = Field(
        description="The report interval that a group sets for the device; null: no group does."
    )
    interval_group: str | None = Field(description="Name of this group.")
