"""Record changes in the audit log, in the same transaction as the change."""

from __future__ import annotations

import json
import time

from sqlalchemy.orm import Session

from ..store.models import Audit

ENGINE = "engine"  # the actor of automatic changes


def note(session: Session, who: str, action: str, subject: str, **detail: object) -> Audit:
    """Add an entry to the audit log, without the values in `detail` that are None."""
    entry = Audit(
        at=time.time(),
        who=who[:128],
        action=action,
        subject=subject[:256],
        detail=as_text(detail),
    )
    session.add(entry)
    return entry


def as_text(detail: dict[str, object]) -> str:
    """Return the details of an entry as JSON, or "" if there are none."""
    said = {key: value for key, value in detail.items() if value is not None}
    return json.dumps(said, ensure_ascii=False) if said else ""
