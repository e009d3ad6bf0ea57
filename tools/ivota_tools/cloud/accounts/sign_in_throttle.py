"""Limit failed sign-ins. The database counts them, so the limit applies across all processes.

Only failures count. The limit is strictest for one account from one address, less strict for
many accounts from one address, and loosest for one account from many addresses.

None of these limits locks a user out of a browser that has signed in before: that browser has a
token of its own, and only its own failures count.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from ..store.future_dates import AHEAD_S
from ..store.models import Refusal
from .users import digest, tidy

WINDOW_S = 900.0
HERE_MOST = 5  # for one name from one address
ADDRESS_MOST = 30  # from one address
NAME_MOST = 100  # for one name
KNOWN_MOST = 10  # for a browser that has signed in before


def wait_s(session: Session, name: str, address: str, now: float, known: bool = False) -> float:
    """Return the seconds until the next try is allowed, or 0. `known`: `address` is the token of
    a browser that has signed in under this name.
    """
    same_name = Refusal.name_sha256 == _key(name)
    same_address = Refusal.address == address[:64]
    limits: tuple[tuple[ColumnElement[bool], int], ...] = (
        (same_name & same_address, KNOWN_MOST if known else HERE_MOST),
    )
    if not known:
        limits += ((same_address, ADDRESS_MOST), (same_name, NAME_MOST))
    wait = 0.0
    for which, most in limits:
        # The failure that must expire before fewer than `most` are left.
        # Ignore times in the future, from a clock that was ahead.
        recent = Refusal.at.between(now - WINDOW_S, now + AHEAD_S)
        query = select(Refusal.at).where(which, recent)
        at = session.scalar(query.order_by(Refusal.at.desc()).offset(most - 1).limit(1))
        if at is not None:
            wait = max(wait, min(at + WINDOW_S - now, WINDOW_S))
    return wait


def attempt(session: Session, name: str, address: str, now: float, known: bool = False) -> float:
    """Return `wait_s`, and if it is 0, count a failure in advance, so that simultaneous tries
    cannot exceed the limit. `forget` removes the failure again.
    """
    wait = wait_s(session, name, address, now, known)
    if not wait:
        refused(session, name, address, now)
    return wait


def refused(session: Session, name: str, address: str, now: float) -> None:
    session.execute(delete(Refusal).where(is_over(now)))
    # Store a hash instead of the name: people sometimes type their password there.
    session.add(Refusal(at=now, name_sha256=_key(name), address=address[:64]))


def is_over(now: float) -> ColumnElement[bool]:
    """Return the SQL condition for a failure that no longer counts."""
    return ~Refusal.at.between(now - WINDOW_S, now + AHEAD_S)


def forget(session: Session, name: str, address: str) -> None:
    """Remove the failures of this name from this address, after a successful sign-in."""
    session.execute(
        delete(Refusal).where(Refusal.name_sha256 == _key(name), Refusal.address == address[:64])
    )


def _key(name: str) -> str:
    return digest(tidy(name))
