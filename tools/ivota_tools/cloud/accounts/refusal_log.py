"""Count refused sign-ins of each kind, and record them in the audit log."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from ..store.database import Database
from . import audit_log
from .token_guess_delay import WrongTries

# For each counter: its words in the log, and its action in the audit log.
_KINDS = {
    "token": ("API token", "token refused"),
    "console": ("console sign-in", "sign-in refused"),
    "device": ("device sign-in", "device sign-in refused"),
    "ddi": ("DDI token", "ddi token refused"),
}


def refusal_counts(database: Callable[[], Database]) -> dict[str, WrongTries]:
    """Return a counter for tokens, for the console, for devices and for DDI."""
    return {
        kind: WrongTries(words, _note(database, action))
        for kind, (words, action) in _KINDS.items()
    }


def _note(database: Callable[[], Database], action: str) -> Callable[[str, int], None]:
    def note(address: str, count: int) -> None:
        with contextlib.suppress(SQLAlchemyError), database().writing() as session:
            audit_log.note(session, audit_log.ENGINE, action, address, times=count)

    return note
