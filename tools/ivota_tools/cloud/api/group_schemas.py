"""Requests and responses of the HTTP API: groups."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .field_types import In, Interval, Name, QueryText, Row


class GroupIn(In):
    """A name for a query; see the documentation of `query`."""

    name: Name
    query: QueryText
    report_interval_s: Interval | Literal["none"] | None = Field(
        default=None,
        description="How often boards in the group report their version, in seconds. "
        "null or omitted: unchanged; none: the boards' own configuration applies.",
    )


class GroupOut(Row):
    """A group and the number of devices that it contains now."""

    id: int
    name: str
    query: str
    devices: int
    report_interval_s: int | None = Field(
        description="How often boards in the group report their version, in seconds; "
        "null: the boards' own configuration applies."
    )
