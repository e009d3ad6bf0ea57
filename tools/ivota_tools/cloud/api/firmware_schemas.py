"""Requests and responses of the HTTP API: firmware. Sizes are bytes, times are Unix seconds."""

from __future__ import annotations

from pydantic import BaseModel, Field

from .field_types import Row


class FirmwareOut(Row):
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


class FailureOut(BaseModel):
    """A failure of a firmware: its code and words, the number of devices that had it, the oldest
    version of the application that had it, and when it was last reported."""

    code: int | None
    message: str
    devices: int
    since: str
    last_at: float
