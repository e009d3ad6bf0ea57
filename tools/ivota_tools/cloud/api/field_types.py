"""Types of the fields that several requests and responses of the HTTP API share."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..mqtt.messages import HARDWARE_MOST, INTERVAL_LEAST_S, INTERVAL_MOST_S, NAME_MOST
from ..store.models import QUERY_MOST, TAG_MOST

YEAR_S = 366 * 86400


def printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not contain control characters")
    return text


def finite(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("must be a finite number")
    return number


Name = Annotated[str, Field(min_length=1, max_length=NAME_MOST), AfterValidator(printable)]
Tag = Annotated[str, Field(min_length=1, max_length=TAG_MOST), AfterValidator(printable)]
QueryText = Annotated[str, Field(max_length=QUERY_MOST), AfterValidator(printable)]
Share = Annotated[float, Field(ge=0, le=1), AfterValidator(finite)]
Span = Annotated[float, Field(ge=0, le=YEAR_S), AfterValidator(finite)]
Interval = Annotated[int, Field(ge=INTERVAL_LEAST_S, le=INTERVAL_MOST_S)]
Hardware = Annotated[str, Field(min_length=1, max_length=HARDWARE_MOST), AfterValidator(printable)]
Role = Literal["viewer", "operator", "admin"]
Id = Annotated[int, Field(ge=1, lt=2**31)]


class In(BaseModel):
    """A request; an unknown field is an error."""

    model_config = ConfigDict(extra="forbid")


class Row(BaseModel):
    """A response that is read from a row of the database."""

    model_config = ConfigDict(from_attributes=True)
