"""Requests and responses of the HTTP API: users, tokens and the audit log."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from ..mqtt.messages import NAME_MOST
from .field_types import In, Name, Role, Row


class TokenIn(In):
    """A new token. `viewer` can view everything, `operator` can also change what devices run,
    `admin` can also manage users and tokens."""

    name: Name
    role: Role = "operator"


class TokenOut(Row):
    """A token's name and role, without the token itself."""

    id: int
    name: str
    role: str
    created_at: float


class NewTokenOut(TokenOut):
    """A new token, including the token itself, which cannot be retrieved again."""

    token: str


class DdiTokenIn(In):
    """A new DDI token: for the device PRODUCT/NAME, or for a gateway if `device` is null."""

    name: Name
    device: Annotated[str, Field(min_length=1, max_length=2 * NAME_MOST + 1)] | None = None


class DdiTokenOut(BaseModel):
    """A DDI token, without the token itself; `device` is null for a gateway's token."""

    id: int
    name: str
    device: str | None
    created_at: float


class NewDdiTokenOut(DdiTokenOut):
    """A new DDI token, including the token itself, which cannot be retrieved again."""

    token: str


class UserIn(In):
    """A new console user; names are in lower case."""

    name: Name
    password: Annotated[str, Field(max_length=256)]
    role: Role = "operator"


class UserChange(In):
    """A change to a user; null keeps the current value. `second_factor` can only be turned off."""

    role: Role | None = None
    password: Annotated[str, Field(max_length=256)] | None = None
    second_factor: Literal[False] | None = None


class UserOut(Row):
    """A console user, without the password. `by_provider`: signs in at the identity provider."""

    id: int
    name: str
    role: str
    by_provider: bool
    second_factor: bool
    created_at: float
    signed_in_at: float | None


class AuditOut(Row):
    """An entry of the audit log; `detail` is JSON or empty."""

    id: int
    at: float
    who: str
    action: str
    subject: str
    detail: str
