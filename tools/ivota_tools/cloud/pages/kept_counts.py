"""Cache the counts of a large fleet for a few seconds.

Otherwise, each view of a page, and each change while a page is open, would count a million rows.
During a recount, pages show the previous number. A small fleet is counted at each view.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ..store.database import Database
from ..store.models import Device

log = logging.getLogger("ivota.cloud")

LARGE = 20_000  # devices; docs/operate.md repeats it
KEEP_S = 10.0
KEYS_MOST = 200

T = TypeVar("T")


class Counts:
    """Counts for one view of a page: cached, or counted in this session."""

    def __init__(self, session: Session, kept: KeptCounts | None) -> None:
        self._session, self._kept = session, kept

    def get(self, key: Hashable, count: Callable[[Session], T]) -> T:
        """Return the result of `count`, possibly from a few seconds ago."""
        if self._kept is None:
            return count(self._session)
        return self._kept.get(self._session, key, count)


class KeptCounts:
    """The cached counts of one database, each under a key that names what is counted."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._held: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()
        self._counting: set[Hashable] = set()

    def of(self, session: Session) -> Counts:
        """Return the numbers for one view of a page."""
        large = (session.scalar(select(func.max(Device.id))) or 0) >= LARGE
        return Counts(session, self if large else None)

    def get(self, session: Session, key: Hashable, count: Callable[[Session], T]) -> T:
        with self._lock:
            held = self._held.get(key)
            if held and time.monotonic() - held[0] > KEEP_S and key not in self._counting:
                self._counting.add(key)
                threading.Thread(
                    target=self._again, args=(key, count), name="counts", daemon=True
                ).start()
        if held is None:
            return self._keep(key, count(session))
        found: T = held[1]
        return found

    def _again(self, key: Hashable, count: Callable[[Session], Any]) -> None:
        try:
            with self._database.reading() as session:
                self._keep(key, count(session))
        except Exception as error:  # the next view tries again
            log.warning("cannot count the fleet: %s", error)
        finally:
            with self._lock:
                self._counting.discard(key)

    def _keep(self, key: Hashable, found: T) -> T:
        with self._lock:
            self._held[key] = time.monotonic(), found
            self._held.move_to_end(key)
            while len(self._held) > KEYS_MOST:
                self._held.popitem(last=False)
        return found
