"""Requests and responses of the HTTP API: groups."""

from __future__ import annotations

from .field_types import In, Name, QueryText, Row


class GroupIn(In):
    """A name for a query; see the documentation of `query`."""

    name: Name
    query: QueryText


class GroupOut(Row):
    """A group and the number of devices that it contains now."""

    id: int
    name: str
    query: str
    devices: int
