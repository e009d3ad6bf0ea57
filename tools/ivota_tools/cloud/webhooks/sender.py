"""Deliver waiting messages in a separate thread, and retry failed deliveries."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from ..store.database import Database
from ..store.models import Setting, WebhookMessage
from ..tls_certificate import OLD_S
from . import outbox
from .delivery import Delivery
from .webhook_settings import Target, Webhooks

log = logging.getLogger("ivota.cloud")

LOOK_S = 1.0
FIRST_S, MOST_S = 10.0, 3600.0  # back-off
TRIES_MOST = 15  # about 8 hours
DEAD_MOST = 1000  # messages that are kept after the last try
CHECK_S = 60.0  # between two checks of disk and certificate
AGAIN_S = 86400.0  # between two messages about the same
DISK_SHARE = 0.1


def back_off_s(tries: int) -> float:
    return min(FIRST_S * 2.0 ** (tries - 1), MOST_S)


class WebhookSender:
    """`expires()` returns when the certificate expires, or None."""

    def __init__(
        self,
        database: Database,
        webhooks: Webhooks,
        folder: Path,
        expires: Callable[[], float | None],
    ) -> None:
        self._database, self._webhooks = database, webhooks
        self._folder, self._expires = folder, expires
        self._stop = threading.Event()
        self._next_check = 0.0
        self._delivery = Delivery(webhooks.secret)
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop without waiting for a delivery in progress, which may be repeated later."""
        self._stop.set()
        self._thread.join(LOOK_S)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                if time.monotonic() >= self._next_check:
                    self._next_check = time.monotonic() + CHECK_S
                    self.check()
                for target in self._webhooks.targets:
                    self.deliver(target)
            except SQLAlchemyError as error:
                log.error(
                    "webhooks are waiting for the database: %s", getattr(error, "orig", error)
                )
            except Exception:  # the cloud is stopping, or a bug: the fleet must not notice
                if not self._stop.is_set():
                    log.exception("cannot send webhook messages")

    def deliver(self, target: Target) -> None:
        """Send the messages that are due, oldest first, until one fails."""
        while not self._stop.is_set():
            mine = WebhookMessage.target == target.name
            waiting = select(WebhookMessage).where(mine, WebhookMessage.next_at.is_not(None))
            with self._database.reading() as session:
                message = session.scalar(waiting.order_by(WebhookMessage.id).limit(1))
            if message is None or (message.next_at or 0.0) > time.time():
                return  # the other messages wait, so that they arrive in order
            problem = self._delivery.post(target, f"ivota_{message.id}", message.body)
            with self._database.writing() as session:
                if problem is None:
                    session.execute(delete(WebhookMessage).where(WebhookMessage.id == message.id))
                    continue
                self._failed(message, problem)
                session.merge(message)
                self._forget_dead(session, target)
            log.warning("the webhook at %s failed: %s", target.host, problem)
            if message.next_at is not None:
                return

    def _failed(self, message: WebhookMessage, problem: str) -> None:
        message.tries += 1
        message.error = problem
        over = message.tries >= TRIES_MOST
        message.next_at = None if over else time.time() + back_off_s(message.tries)

    def _forget_dead(self, session: Session, target: Target) -> None:
        dead = WebhookMessage.target == target.name, WebhookMessage.next_at.is_(None)
        oldest = (
            select(WebhookMessage.id)
            .where(*dead)
            .order_by(WebhookMessage.id.desc())
            .offset(DEAD_MOST)
            .limit(1)
        )
        found = session.scalar(oldest)
        if found is not None:
            session.execute(delete(WebhookMessage).where(*dead, WebhookMessage.id <= found))

    def check(self) -> None:
        """Note messages about the disk and the certificate."""
        usage = shutil.disk_usage(self._folder)
        if usage.free < DISK_SHARE * usage.total:
            self._once(outbox.DISK_LOW, {"free_bytes": usage.free, "size_bytes": usage.total})
        expires = self._expires()
        if expires is not None and expires - time.time() < OLD_S:
            self._once(outbox.CERTIFICATE_EXPIRES, {"expires_at": expires})

    def _once(self, name: str, data: dict[str, float]) -> None:
        """Note a message unless there was one within AGAIN_S."""
        now = time.time()
        with self._database.writing() as session:
            last = session.get(Setting, f"webhook {name}")
            if last and 0 <= now - float(last.value) < AGAIN_S:
                return
            session.merge(Setting(name=f"webhook {name}", value=str(int(now))))
            outbox.note(session, self._webhooks, name, data)


def retry_dead(session: Session, webhooks: Webhooks, only: int | None = None) -> int:
    """Resend the messages that the cloud has given up on, all of them or one; return their number.

    Messages of a webhook that is no longer configured stay as they are.
    """
    query = select(WebhookMessage).where(
        WebhookMessage.next_at.is_(None),
        WebhookMessage.target.in_([target.name for target in webhooks.targets]),
    )
    if only is not None:
        query = query.where(WebhookMessage.id == only)
    given_up = list(session.scalars(query))
    for message in given_up:
        message.next_at, message.tries = time.time(), 0
    return len(given_up)
