"""Requests and responses of the HTTP API: an action on all devices that match a query."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ..mqtt.messages import HARDWARE_MOST, NAME_MOST
from ..rollout.bulk_actions import PART
from .field_types import Id, In, QueryText, Row, Tag, printable

Application = Annotated[str, Field(max_length=NAME_MOST), AfterValidator(printable)]
Hardware = Annotated[str, Field(max_length=HARDWARE_MOST), AfterValidator(printable)]


Action = Literal["tag", "properties", "push", "retry", "cancel", "accept", "retire", "delete"]


class ActionIn(In):
    """An action on the listed devices, if they match a query.

    `add` and `remove` are for the action tag, `application` and `hardware` for properties: an
    omitted field keeps its value, "" means unknown. `firmware_id` is for push, and
    `include_mismatched` allows devices of another application or other hardware.
    """

    query: QueryText
    devices: list[Id] = Field(min_length=1, max_length=PART)
    action: Action
    add: list[Tag] = Field(default=[], max_length=100)
    remove: list[Tag] = Field(default=[], max_length=100)
    application: Application | None = None
    hardware: Hardware | None = None
    firmware_id: Id | None = None
    include_mismatched: bool = False
    entry: Id | None = None


class SkippedOut(Row):
    """How many devices were not changed for the same reason."""

    devices: int
    reason: str


class PartOut(Row):
    """How many of the devices have changed, and why the others have not."""

    devices: int
    skipped: list[SkippedOut]
    entry: int | None = Field(description="Id of the entry in the audit log; null: no change yet.")
