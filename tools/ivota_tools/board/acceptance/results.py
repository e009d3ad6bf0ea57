"""The result of a step of the test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PASS, SKIP, FAIL = "PASS", "SKIP", "FAIL"


class Skipped(Exception):
    """The board or the test lacks what the step needs; the text says what."""


class Failed(Exception):
    """The board did something wrong; the text says what happened."""


@dataclass(frozen=True)
class Result:
    """A step. `seen` is what was observed, or why it was skipped; `values` are figures."""

    name: str
    title: str
    outcome: str
    seen: str
    seconds: float
    values: dict[str, Any] = field(default_factory=dict)
