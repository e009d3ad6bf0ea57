"""After a restore, forget the progress of unfinished updates, which boards may have finished
since.

A board may have finished an update after the backup, and it reports `done` only once. Its next
version report shows which version it runs. Until then, nothing is pushed to it: the version in
the backup may be older than the one that it runs.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, delete, select, update
from sqlalchemy.orm import Session

from ..accounts import audit_log
from ..store.backup import RESTORED
from ..store.database import Database
from ..store.models import MQTT, Assignment, Device, Setting
from . import assignment_states

RESTORED_AT = "restored_at"  # a setting: when the cloud first started after the last restore


def forget_progress(database: Database, now: float) -> int:
    """Return how many attempts wait for a report now; 0 unless a backup has just been restored."""
    with database.writing() as session:
        gone = session.execute(delete(Setting).where(Setting.name == RESTORED))
        if not gone.rowcount:  # type: ignore[attr-defined]
            return 0
        session.merge(Setting(name=RESTORED_AT, value=str(now)))
        # A device that polls does not report its version, but it gets no update twice either.
        devices = select(Device.id).where(Device.transport == MQTT)
        unfinished = (
            Assignment.current,
            Assignment.state.in_(assignment_states.UNFINISHED),
            Assignment.device_id.in_(devices),
        )
        # A push to a single device, which nobody can pause, must not bring back an older version.
        alone = update(Assignment).where(*unfinished, Assignment.campaign_id.is_(None))
        session.execute(alone.values(only_outdated=True))
        found = session.execute(
            update(Assignment)
            .where(*unfinished)
            .values(
                restored=True,
                state=assignment_states.WAITING,
                percent=None,
                interrupted=False,
                unasked=False,
                next_push_at=None,
            )
        )
        waiting = int(found.rowcount)  # type: ignore[attr-defined]
        audit_log.note(session, audit_log.ENGINE, "database restore", "", updates=waiting)
        return waiting


def restored_at(session: Session) -> float:
    """Return when the cloud first started after the last restore, or 0."""
    setting = session.get(Setting, RESTORED_AT)
    return float(setting.value) if setting else 0.0


def silent(since: float) -> ColumnElement[bool]:
    """Return the condition of `is_silent` in SQL."""
    return and_(Device.transport == MQTT, Device.last_seen < since)


def is_silent(device: Device, since: float) -> bool:
    """Return whether a board has sent nothing since a restore.

    A device that polls need not report first.
    """
    return device.transport == MQTT and device.last_seen is not None and device.last_seen < since
