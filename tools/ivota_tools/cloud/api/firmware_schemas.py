"""Requests and responses of the HTTP API: firmware. Sizes are bytes, times are Unix seconds."""

from __future__ import annotations

from pydantic import BaseModel, Field

from .field_types import Row


class FirmwareOut(Row):
    """Firmware, or a patch that the cloud sends in its place."""

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
    """Uploaded firmware, with warnings about it."""

    firmware: FirmwareOut
    warnings: list[str]


class FailureOut(BaseModel):
    """A failure of an update: its code and message, the number of devices that reported it, the
    oldest version of the application with this failure, and when it was last reported."""

    code: int | None
    message: str
    devices: int
    since: str
    last_at: float
