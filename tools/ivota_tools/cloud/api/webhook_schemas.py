"""Responses of the HTTP API: messages for webhooks."""

from __future__ import annotations

from pydantic import BaseModel

from .field_types import Row


class WebhookMessageOut(Row):
    """A message for a webhook. `next_at` is the time of the next attempt, or null if the cloud has
    given up on the message. `target` distinguishes webhooks of the same host.
    """

    id: int
    at: float
    event: str
    host: str
    target: str
    tries: int
    next_at: float | None
    error: str


class CountOut(BaseModel):
    """The number of messages that an action has changed."""

    count: int


class WebhookTestOut(BaseModel):
    """Why a webhook did not accept the test message; null if it did."""

    host: str
    problem: str | None
