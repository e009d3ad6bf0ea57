"""Who changed what, kept in the transaction that changes it."""

from __future__ import annotations

import json
import time

from sqlalchemy.orm import Session

from ..store.models import Audit

ENGINE = "engine"  # who acts where a rule does


def note(session: Session, who: str, action: str, subject: str, **detail: object) -> None:
    """One line of the audit log; what has no value in `detail` is left out."""
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
