"""How often somebody may try to sign in: counted in the database, so by all processes together.

Only refusals count. Who guesses one account's password from one place is stopped soon; who tries
many accounts from there a little later; and one account tried from everywhere last of all, so
that nobody can easily keep its owner out.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from ..store.models import Refusal
from .users import digest, tidy

WINDOW_S = 900.0
HERE_MOST = 5  # for one name from one address
ADDRESS_MOST = 30  # from one address
NAME_MOST = 100  # for one name


def wait_s(session: Session, name: str, address: str, now: float) -> float:
    """For how long nothing is looked at; 0 where a try is welcome."""
    same_name = Refusal.name_sha256 == _key(name)
    same_address = Refusal.address == address
    limits: tuple[tuple[ColumnElement[bool], int], ...] = (
        (same_name & same_address, HERE_MOST),
        (same_address, ADDRESS_MOST),
        (same_name, NAME_MOST),
    )
    wait = 0.0
    for which, most in limits:
        # The one that must grow old before fewer than `most` are left.
        query = select(Refusal.at).where(which, Refusal.at > now - WINDOW_S)
        at = session.scalar(query.order_by(Refusal.at.desc()).offset(most - 1).limit(1))
        if at is not None:
            wait = max(wait, at + WINDOW_S - now)
    return wait


def attempt(session: Session, name: str, address: str, now: float) -> float:
    """What `wait_s` says; where a try is welcome it is counted before anybody knows how it ends:
    many at once shall not all be let try. `forget` takes it back.
    """
    wait = wait_s(session, name, address, now)
    if not wait:
        refused(session, name, address, now)
    return wait


def refused(session: Session, name: str, address: str, now: float) -> None:
    session.execute(delete(Refusal).where(Refusal.at <= now - WINDOW_S))
    # Not the name itself: people type their password there.
    session.add(Refusal(at=now, name_sha256=_key(name), address=address[:64]))


def forget(session: Session, name: str, address: str) -> None:
    """After the right password, of this name from this address."""
    session.execute(
        delete(Refusal).where(Refusal.name_sha256 == _key(name), Refusal.address == address)
    )


def _key(name: str) -> str:
    return digest(tidy(name))
