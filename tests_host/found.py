"""What a test has searched for: a loop over nothing would assert nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def some(found: Iterable[T], least: int = 1) -> list[T]:
    """What was found, as a list; AssertionError if that is less than `least`."""
    listed = list(found)
    assert len(listed) >= least, f"{len(listed)} found, at least {least} expected"
    return listed
