"""A campaign's options as people write them, with defaults for commands, forms and the API."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Literal

from .durations import seconds

# The only table of defaults. They are cautious: an unattended campaign stops automatically.
STAGES = "1,10%,100%"
SUCCESS = "95%"
SOAK = "10min"
STOP = "10%"
STOP_ON: Literal["first", "last"] = "first"
LEAST = 10
TIMEOUT = "1d"
ONLY_OUTDATED = True

NEVER = "never"
# The failures of a device that count for the stop rule.
FIRST: Final = "first"
LAST: Final = "last"
STOPS: tuple[Literal["first", "last"], ...] = (FIRST, LAST)

_STAGE = re.compile(r"([0-9]{1,8}(?:\.[0-9]{1,9})?) ?(%?)")
_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(%?)")
_COUNT_MOST = 10_000_000


class OptionError(ValueError):
    """An option is not valid, or contradicts another one."""


def stages(text: str) -> list[dict[str, Any]]:
    """Parse stages such as `1, 10 %, 100 %`. Raises OptionError unless they grow to 100 %."""
    found: list[dict[str, Any]] = []
    for part in (each.strip() for each in re.split(r"[,;]", text)):
        match = _STAGE.fullmatch(part)
        if match is None or (not match[2] and "." in match[1]):
            raise OptionError(
                f"{part!r} is not a valid stage: use a number of devices, or a share such as 10%"
            )
        found.append({"percent": float(match[1])} if match[2] else {"count": int(match[1])})
    expect_growth(found)
    return found


def expect_growth(given: Sequence[dict[str, Any]]) -> None:
    """Raise OptionError unless each stage is larger than the one before, up to 100 %."""
    largest: dict[str, float] = {}
    for stage in given:
        (unit, size), words = next(iter(stage.items())), stage_words(stage)
        if not 0 < size <= (100 if unit == "percent" else _COUNT_MOST):
            raise OptionError(
                f"the stage {words} is impossible: use 1 to {_COUNT_MOST:,} devices, or more "
                "than 0% and at most 100%"
            )
        if size <= largest.get(unit, 0):
            raise OptionError(
                f"each stage must be larger than the previous one, but {words} follows "
                f"{stage_words({unit: largest[unit]})}: a stage includes the stages before it"
            )
        largest[unit] = size
    if not given or given[-1].get("percent") != 100:
        last = f"the last stage is {stage_words(given[-1])}" if given else "there are no stages"
        raise OptionError(
            f"{last}, but the last stage must include all devices: end with 100%. For fewer "
            "devices, choose them with a query"
        )


def stage_words(stage: dict[str, Any]) -> str:
    """Return a stage as text: 10%, 1 device."""
    if stage.get("percent") is not None:
        return f"{stage['percent']:g}%"
    return f"{stage['count']:,.0f} device{'' if stage['count'] == 1 else 's'}"


def share(text: str, what: str = "share") -> float:
    """Parse 95 % or 0.95. Raises OptionError."""
    match = _SHARE.fullmatch(text.strip())
    found = -1.0 if match is None else float(match[1]) / (100 if match[2] else 1)
    if not 0 <= found <= 1:
        raise OptionError(
            f"{text!r} is not a valid {what}: use 0% to 100%, for example 90% or 0.9"
        )
    return found


def span(text: str) -> float:
    """Parse 30s, 10 min, 2h or 1d. Raises OptionError."""
    try:
        return seconds(re.sub(r"(?<=[0-9]) (?=[a-z])", "", text.strip()))
    except ValueError as error:
        raise OptionError(str(error)) from None
