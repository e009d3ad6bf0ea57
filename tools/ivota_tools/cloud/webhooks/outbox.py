"""Store messages for webhooks in the same transaction as the change that they report.

So a message exists exactly if its change was committed.
"""

from __future__ import annotations

import json
import logging
import time
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import event, func, select
from sqlalchemy.orm import Session, attributes

from ..rollout import assignment_states, campaign_rules
from ..store.models import Assignment, Campaign, WebhookMessage
from .webhook_settings import Webhooks

log = logging.getLogger("ivota.cloud")

INFO = "webhooks"  # in a session's `info`
WAITING_MOST = 1000  # messages for one target
NAMED_MOST = 100  # devices in one message

TEST = "test"
DEVICES_FAILED = "devices.failed"
DISK_LOW = "disk.low"
CERTIFICATE_EXPIRES = "certificate.expires"
_CAMPAIGN = {state: f"campaign.{state}" for state in
             (campaign_rules.STOPPED, *campaign_rules.ENDED)}  # fmt: skip
EVENTS = (*_CAMPAIGN.values(), DEVICES_FAILED, DISK_LOW, CERTIFICATE_EXPIRES, TEST)


def body(name: str, data: dict[str, Any], now: float) -> str:
    """Return the text of a message."""
    moment = datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="milliseconds")
    return json.dumps({"type": name, "timestamp": moment, "data": data})


def note(session: Session, webhooks: Webhooks, name: str, data: dict[str, Any]) -> None:
    """Add a message for each target."""
    now = time.time()
    text = body(name, data, now)
    for target in webhooks.targets:
        waiting = select(func.count()).where(
            WebhookMessage.target == target.name, WebhookMessage.next_at.is_not(None)
        )
        if (session.scalar(waiting) or 0) >= WAITING_MOST:
            log.error(
                "too many messages are waiting for the webhook at %s: dropped a new one",
                target.host,
            )
            continue
        session.add(
            WebhookMessage(
                at=now, target=target.name, host=target.host, event=name, body=text, next_at=now
            )
        )


class WatchedSession(Session):
    """A writing session that notes ended campaigns and failed devices."""


@event.listens_for(WatchedSession, "before_flush")
def _note_changes(session: Session, _context: object, _instances: object) -> None:
    webhooks: Webhooks | None = session.info.get(INFO)
    if not webhooks or not webhooks.targets:
        return
    failed = []
    for each in list(session.dirty):
        if isinstance(each, Campaign) and (name := _CAMPAIGN.get(each.state)):
            if _changed(each):
                data = {"id": each.id, "name": each.name, "reason": each.reason}
                with session.no_autoflush:
                    note(session, webhooks, name, data)
        elif isinstance(each, Assignment) and each.state == assignment_states.FAILED:
            if _changed(each):
                failed.append(each)
    if failed:
        with session.no_autoflush:
            devices = [
                {
                    "device": each.device.name,
                    "version": each.firmware.version,
                    "code": each.failure_code,
                    "reason": each.failure_msg,
                }
                for each in failed[:NAMED_MOST]
            ]
            note(session, webhooks, DEVICES_FAILED, {"count": len(failed), "devices": devices})


def _changed(row: Campaign | Assignment) -> bool:
    """Return whether this flush changes the state."""
    history = attributes.get_history(row, "state")
    return bool(history.added) and list(history.deleted or ()) != [row.state]
