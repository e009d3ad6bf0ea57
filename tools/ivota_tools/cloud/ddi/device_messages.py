"""Parse the messages of DDI devices, in pure functions."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from ..mqtt import messages
from ..mqtt.messages import Report

ATTRIBUTES_MOST = 100
KEY_MOST, VALUE_MOST = 32, 128  # characters, as hawkBit limits them
FAILED = -5  # of docs/protocol.md: the device could not install it

CLOSED, CANCELED, REJECTED = "closed", "canceled", "rejected"
_STATES = {
    "scheduled": "downloading",
    "download": "downloading",
    "downloaded": "burning",
    "proceeding": "burning",
    "resumed": "burning",
}


class FeedbackError(ValueError):
    """A body is not a message of DDI; the text says what is wrong."""


class Feedback(NamedTuple):
    """A device's message about an action; `ended`: the device will not continue with it."""

    execution: str
    success: bool
    percent: int | None
    message: str | None

    @property
    def ended(self) -> bool:
        return self.execution in (CLOSED, CANCELED, REJECTED)

    def report(self, version: str) -> Report:
        """Return the report that a device of MQTT would send in its place."""
        if self.ended:
            state = "done" if self.execution == CLOSED and self.success else "fail"
        else:
            state = _STATES[self.execution]
        code = FAILED if state == "fail" else 0
        percent = 100 if state == "done" else self.percent
        return Report(messages.REPORT_PROGRESS, version, state, percent, code, self.message)


class Confirmation(NamedTuple):
    """Whether a device agrees to an update."""

    confirmed: bool
    message: str | None


def read_feedback(body: bytes) -> Feedback:
    """Raise FeedbackError."""
    status = _object(_json(body), "status")
    execution = status.get("execution")
    if execution not in (*_STATES, CLOSED, CANCELED, REJECTED):
        raise FeedbackError(f"status.execution is not a valid DDI value: {execution!r:.60}")
    result = _object(status, "result")
    finished = result.get("finished")
    if finished not in ("success", "failure", "none"):
        raise FeedbackError("status.result.finished must be success, failure or none")
    return Feedback(execution, finished == "success", _percent(result), _details(status))


def read_confirmation(body: bytes) -> Confirmation:
    """Raise FeedbackError."""
    said = _json(body)
    if said.get("confirmation") not in ("confirmed", "denied"):
        raise FeedbackError("confirmation must be confirmed or denied")
    return Confirmation(said["confirmation"] == "confirmed", _details(said))


def read_attributes(body: bytes, known: dict[str, str] | None) -> dict[str, str]:
    """Return a device's attributes after this message. Raises FeedbackError.

    Its `status` describes the message, not an action.
    """
    said = _json(body)
    mode, given = said.get("mode", "merge"), _object(said, "data")
    if mode not in ("merge", "replace", "remove"):
        raise FeedbackError("mode must be merge, replace or remove")
    data = {key: messages.clean_text(value) for key, value in given.items()}
    if any(
        not 0 < len(key) <= KEY_MOST or not key.isprintable() or value is None
        for key, value in data.items()
    ):
        raise FeedbackError(
            f"an attribute must be a string, and its key must have 1 to {KEY_MOST} printable "
            "characters"
        )
    if any(len(value) > VALUE_MOST for value in given.values()):
        raise FeedbackError(f"an attribute must have at most {VALUE_MOST} characters")
    found = {} if mode == "replace" else dict(known or {})
    for key, value in data.items():
        if mode == "remove":
            found.pop(key, None)
        else:
            found[key] = value or ""
    if len(found) > ATTRIBUTES_MOST:
        raise FeedbackError(f"a device can have at most {ATTRIBUTES_MOST} attributes")
    return found


def version_report(attributes: dict[str, str]) -> Report | None:
    """Return the report of a device that has `version` among its attributes."""
    version = messages.clean_name(attributes.get("version"), messages.VERSION_MOST)
    if version is None:
        return None
    return Report(
        messages.REPORT_VERSION,
        version,
        application=messages.clean_name(attributes.get("application"), messages.NAME_MOST),
        hardware=messages.clean_name(attributes.get("hardware"), messages.HARDWARE_MOST),
    )


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body.decode())
    except (ValueError, RecursionError):
        raise FeedbackError("the body is not JSON in UTF-8") from None
    if not isinstance(found, dict):
        raise FeedbackError("the body is not a JSON object")
    return found


def _object(of: dict[str, Any], key: str) -> dict[str, Any]:
    found = of.get(key)
    if not isinstance(found, dict):
        raise FeedbackError(f"{key} is missing or not an object")
    return found


def _details(of: dict[str, Any]) -> str | None:
    """Join the messages, up to the maximum length."""
    details = of.get("details")
    texts = [messages.clean_text(each) for each in details] if isinstance(details, list) else []
    return messages.clean_text("; ".join(text for text in texts if text)) or None


def _percent(result: dict[str, Any]) -> int | None:
    progress = result.get("progress")
    if not isinstance(progress, dict):
        return None
    count, of = progress.get("cnt"), progress.get("of")
    if not isinstance(count, int) or not isinstance(of, int) or not 0 < of < 1 << 31:
        return None
    return min(max(100 * count // of, 0), 100) if abs(count) < 1 << 31 else None
