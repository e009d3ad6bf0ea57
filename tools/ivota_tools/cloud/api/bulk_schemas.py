"""Requests and responses of the HTTP API: an action on all devices that match a query."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ..mqtt.messages import HARDWARE_MOST, NAME_MOST
from ..rollout.bulk_actions import PART
from .field_types import Id, In, QueryText, Row, Tag, printable
from .route_parameters import REVISION_MOST

Application = Annotated[str, Field(max_length=NAME_MOST), AfterValidator(printable)]
Hardware = Annotated[str, Field(max_length=HARDWARE_MOST), AfterValidator(printable)]


class ActionIn(In):
    """An action on the devices that match a query.

    `add` and `remove` are for the action tag, `application` and `hardware` for properties: an
    omitted field keeps its value, "" means unknown.
    """

    query: QueryText
    action: Literal["tag", "properties", "retire", "delete"]
    add: list[Tag] = Field(default=[], max_length=100)
    remove: list[Tag] = Field(default=[], max_length=100)
    application: Application | None = None
    hardware: Hardware | None = None
    expected: int | None = Field(default=None, ge=0, le=REVISION_MOST)
    after: int = Field(default=0, ge=0, le=REVISION_MOST)
    entry: Id | None = None
    limit: int = Field(default=PART, ge=1, le=PART)


class PartOut(Row):
    """How many devices a part has changed, and where the next one continues."""

    devices: int
    after: int
    more: bool
    entry: int | None = Field(description="Id of the entry in the audit log; null: no change yet.")


class CountOut(Row):
    """The number of devices that match a query now."""

    devices: int
