"""Record changes in the audit log, in the same transaction as the change."""

from __future__ import annotations

import json
import time

from sqlalchemy.orm import Session

from ..store.models import Audit

ENGINE = "engine"  # the actor of automatic changes


def note(session: Session, who: str, action: str, subject: str, **detail: object) -> None:
    """Add an entry to the audit log, without the values in `detail` that are None."""
    said = {key: value for key, value in detail.items() if value is not None}
    session.add(
        Audit(
            at=time.time(),
            who=who[:128],
            action=action,
            subject=subject[:256],
            detail=json.dumps(said, ensure_ascii=False) if said else "",
        )
    )
