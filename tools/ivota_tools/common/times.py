"""Times as people write and read them: a time without a zone is in UTC."""

from __future__ import annotations

import datetime
import time


def parse(text: str) -> float:
    """Return the Unix time of 2026-05-01T03:00, or with a zone 2026-05-01T03:00+02:00.

    Raises ValueError.
    """
    # Python 3.10 does not know the letter.
    found = datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text[-1:] == "Z" else text)
    if found.tzinfo is None:
        found = found.replace(tzinfo=datetime.timezone.utc)
    try:
        return found.timestamp()
    except OverflowError as error:  # the year 1 in a zone east of here
        raise ValueError(str(error)) from None


def minute(at: float) -> str:
    """Return the date and the time in UTC, with the zone."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


def clock(at: float) -> str:
    """Return the time of day in UTC, with the zone."""
    return time.strftime("%H:%M:%S UTC", time.gmtime(at))


def date(at: float) -> str:
    """Return the date and the time in UTC without the year, for a column whose title has UTC."""
    return time.strftime("%m-%d %H:%M:%S", time.gmtime(at))
