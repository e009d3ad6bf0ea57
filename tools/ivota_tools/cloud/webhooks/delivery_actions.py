"""The actions of an admin on webhooks: send a test, and resend messages that were given up."""

from __future__ import annotations

import time

from ..accounts import audit_log
from ..store.database import Database
from . import outbox
from .delivery import send_test
from .sender import retry_dead
from .webhook_settings import Webhooks


class WebhookError(ValueError):
    """The action is not possible; the text says why."""


def test(database: Database, webhooks: Webhooks, who: str) -> list[tuple[str, str | None]]:
    """Send a test message to each webhook; return its host, and its problem or None.

    Takes as long as the slowest webhook, up to delivery.TIMEOUT_S. Raises WebhookError.
    """
    if not webhooks.targets:
        raise WebhookError("the cloud has no webhook: start it with --webhook")
    with database.writing() as session:
        audit_log.note(session, who, "webhook test", str(len(webhooks.targets)))
    return send_test(webhooks, outbox.body(outbox.TEST, {"by": who}, time.time()))


def retry(database: Database, webhooks: Webhooks, who: str, only: int | None = None) -> int:
    """Resend all messages that the cloud has given up on, or the one with this id; return their
    number.

    Raises WebhookError if there is no such message.
    """
    with database.writing() as session:
        count = retry_dead(session, webhooks, only)
        if only is not None and not count:
            raise WebhookError(
                f"cannot resend message {only}: the cloud has not given up on it, or its webhook "
                "is no longer configured"
            )
        if count:
            audit_log.note(session, who, "webhook retry", str(only or ""), messages=count)
    return count
