"""How often somebody may try to sign in: counted in the database, so by all processes together.

Only refusals count. Who guesses one account's password from one place is stopped soon; who tries
many accounts from there a little later; and one account tried from everywhere last of all.

None of that keeps its owner out of a browser that has signed in before: that one carries a word by
which it is known, and only its own tries count.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from ..store.clock_repair import AHEAD_S
from ..store.models import Refusal
from .users import digest, tidy

WINDOW_S = 900.0
HERE_MOST = 5  # for one name from one address
ADDRESS_MOST = 30  # from one address
NAME_MOST = 100  # for one name
KNOWN_MOST = 10  # in a browser that has signed in before


def wait_s(session: Session, name: str, address: str, now: float, known: bool = False) -> float:
    """For how long nothing is looked at; 0 where a try is welcome. `known`: `address` is the word
    of a browser that has signed in under this name.
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
        # The one that must grow old before fewer than `most` are left.
        # Of a clock that was ahead, nothing is left to wait for.
        recent = Refusal.at.between(now - WINDOW_S, now + AHEAD_S)
        query = select(Refusal.at).where(which, recent)
        at = session.scalar(query.order_by(Refusal.at.desc()).offset(most - 1).limit(1))
        if at is not None:
            wait = max(wait, min(at + WINDOW_S - now, WINDOW_S))
    return wait


def attempt(session: Session, name: str, address: str, now: float, known: bool = False) -> float:
    """What `wait_s` says; where a try is welcome it is counted before anybody knows how it ends:
    many at once shall not all be let try. `forget` takes it back.
    """
    wait = wait_s(session, name, address, now, known)
    if not wait:
        refused(session, name, address, now)
    return wait


def refused(session: Session, name: str, address: str, now: float) -> None:
    session.execute(delete(Refusal).where(~Refusal.at.between(now - WINDOW_S, now + AHEAD_S)))
    # Not the name itself: people type their password there.
    session.add(Refusal(at=now, name_sha256=_key(name), address=address[:64]))


def forget(session: Session, name: str, address: str) -> None:
    """After the right password, of this name from this address."""
    session.execute(
        delete(Refusal).where(Refusal.name_sha256 == _key(name), Refusal.address == address[:64])
    )


def _key(name: str) -> str:
    return digest(tidy(name))
