"""Offer updates to DDI devices and apply their feedback, each inside one transaction.

An action is one push: the poll that finds a due push opens it, and the device closes it. While
one is open, a device gets no other. If its attempt ends first, because somebody cancels or
replaces it, the poll offers a cancellation until the device confirms that.

    push due ─poll→ [confirm] ─→ deployment ─closed→ done, or failed and perhaps retried
                                     └─ cancelled ─→ cancelAction ─closed→ free for the next push
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from ..mqtt import messages
from ..mqtt.cloud_session import Message
from ..mqtt.messages import Report
from ..mqtt.report_ingestion import FORGOTTEN, WITH_TARGET, Heard, store
from ..rollout import assignment_states, push_sender
from ..rollout.assignment import touch
from ..rollout.assignment_states import BackOff
from ..store import device_acceptance, device_lock, event_counters
from ..store.database import Database, add
from ..store.models import DDI, Assignment, Controller, Device
from . import device_messages, device_tokens

SEEN_S = 60.0  # a poll within this time of the previous one only reads
_ACTION = "ddi action"  # the counter that numbers the actions

CONFIRM, DEPLOY, CANCEL = "confirmationBase", "deploymentBase", "cancelAction"


@dataclass(frozen=True)
class Rules:
    """The rules for all devices; see `CloudSettings`."""

    back_off: BackOff
    accept_all: bool
    confirm: bool


class ActionError(LookupError):
    """There is no such action, or it is closed. `status` is the HTTP status."""

    def __init__(self, message: str, status: int = 404) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Offer:
    """The answer to a poll: `kind` is the link of the open action, None without one."""

    kind: str | None = None
    action_id: int | None = None
    wants_attributes: bool = True
    auto_confirm: bool = False


def find(session: Session, tenant: str, name: str) -> Device | None:
    return session.scalar(
        select(Device)
        .where(Device.product_id == tenant, Device.device_name == name)
        .options(*WITH_TARGET)
    )


def poll(database: Database, tenant: str, name: str, now: float, rules: Rules) -> Offer:
    """Answer a poll; most of them write nothing. Raises UserError."""
    with database.reading() as session:
        device = find(session, tenant, name)
        if device is not None and not _is_news(session, device, now):
            return offer_of(session, device, rules)
    with database.storing() as session:
        device, controller = _known(session, tenant, name, now, rules)
        device.last_seen = now
        if controller.assignment_id is not None and _is_over(controller):
            controller.assignment_id = None
        if controller.assignment_id is None and device.status == device_acceptance.ACCEPTED:
            _push(session, device, controller, now)
        touch(session, device)
        session.flush()
        return offer_of(session, device, rules)


def _is_news(session: Session, device: Device, now: float) -> bool:
    """Return whether a poll changes anything in the database."""
    controller = session.get(Controller, device.id)
    if controller is None or device.last_seen is None or abs(now - device.last_seen) > SEEN_S:
        return True
    if controller.assignment_id is not None:
        return _is_over(controller)
    attempt = device.assignment
    if attempt is None:
        return False
    due = attempt.next_push_at is not None and attempt.next_push_at <= now
    return due or _is_first(device, attempt)


def _is_first(device: Device, attempt: Assignment) -> bool:
    """Handle a first poll: push to a device even if it never reports a version."""
    return (
        attempt.state == assignment_states.WAITING
        and attempt.next_push_at is None
        and device.version is None
    )


def _is_over(controller: Controller) -> bool:
    """Return whether the device has the target, but the cloud stopped waiting for its report."""
    attempt = controller.assignment
    return attempt is not None and attempt.state == assignment_states.DONE


def _push(session: Session, device: Device, controller: Controller, now: float) -> None:
    attempt = device.assignment
    if attempt is not None and _is_first(device, attempt):
        attempt.next_push_at = now
        session.flush()
    pushed = push_sender.push_to(session, device, now)
    if pushed is not None:
        controller.action_id = add(session, _ACTION)
        controller.assignment_id = pushed.id
        controller.assignment = pushed
        controller.confirmed = False


def _known(
    session: Session, tenant: str, name: str, now: float, rules: Rules
) -> tuple[Device, Controller]:
    """Find the device, or create it: accepted or pending. Raises UserError."""
    device = find(session, tenant, name)
    if device is None:
        device = _added(session, tenant, name, now, rules)
    device_lock.hold(session, device)
    device_tokens.expect_no_board(device)
    device.transport = DDI
    device.first_seen = device.first_seen or now
    controller = session.get(Controller, device.id)
    if controller is None:
        controller = Controller(
            device_id=device.id, confirmed=False, auto_confirm=False, wants_attributes=True
        )
        session.add(controller)
        session.flush()
    return device, controller


def _added(session: Session, tenant: str, name: str, now: float, rules: Rules) -> Device:
    """Create the device, unless another process creates it at this moment."""
    status = device_acceptance.ACCEPTED if rules.accept_all else device_acceptance.PENDING
    row = {"product_id": tenant, "device_name": name, "transport": DDI, "status": status,
           "garbled": 0, "revision": 0, "last_seen": now}  # fmt: skip
    dialect = postgresql if device_lock.is_shared(session) else sqlite
    session.execute(dialect.insert(Device.__table__).on_conflict_do_nothing(), row)
    if not rules.accept_all and (forgotten := device_acceptance.make_room(session)):
        event_counters.count(session, {FORGOTTEN: forgotten})
    device = find(session, tenant, name)
    if device is None:
        raise ActionError("this device does not exist", 404)
    return device


def offer_of(session: Session, device: Device, rules: Rules) -> Offer:
    """Return what a poll of this device shows."""
    controller = session.get(Controller, device.id)
    if controller is None:
        return Offer()
    offer = Offer(None, None, controller.wants_attributes, controller.auto_confirm)
    attempt = controller.assignment
    if controller.assignment_id is None or attempt is None:
        return offer
    kind = DEPLOY if _is_wanted(attempt) else CANCEL
    if kind == DEPLOY and rules.confirm and not (controller.confirmed or controller.auto_confirm):
        kind = CONFIRM
    return replace(offer, kind=kind, action_id=controller.action_id)


def _is_wanted(attempt: Assignment) -> bool:
    """Return whether the device should still carry out the action of this attempt."""
    states = (*assignment_states.ACTIVE, assignment_states.CURRENT)
    return attempt.current and attempt.state in states


def expect(
    session: Session, tenant: str, name: str, action_id: int, *kinds: str, rules: Rules
) -> tuple[Device, Controller, Assignment]:
    """Find the open action of a device, which must be one of `kinds`. Raises ActionError."""
    device = find(session, tenant, name)
    controller = session.get(Controller, device.id) if device else None
    if device is None or controller is None or controller.action_id != action_id:
        raise ActionError(f"the device has no action {action_id}")
    attempt = controller.assignment
    if controller.assignment_id is None or attempt is None:
        raise ActionError(f"action {action_id} is closed", 410)
    if kinds and offer_of(session, device, rules).kind not in kinds:
        raise ActionError(f"action {action_id} is not offered as {kinds[0]} at the moment")
    return device, controller, attempt


def _expect_locked(
    session: Session, place: tuple[str, str, int], *kinds: str, rules: Rules
) -> tuple[Device, Controller, Assignment]:
    """Lock the device, and then find its action as `expect` does."""
    if device := find(session, *place[:2]):
        device_lock.hold(session, device)
    return expect(session, *place, *kinds, rules=rules)


def take_feedback(
    session: Session,
    place: tuple[str, str, int],
    said: device_messages.Feedback,
    message: Message,
    now: float,
    rules: Rules,
) -> None:
    """Apply what a device says about a deployment. `place`: tenant, id, action.

    Raises ActionError.
    """
    device, controller, attempt = _expect_locked(session, place, DEPLOY, CANCEL, rules=rules)
    version = attempt.firmware.version
    if said.percent is None:  # a message of a log, for example
        said = said._replace(percent=attempt.percent or 0)
    report = said.report(version)
    reports = [report]
    if report.state == "done":
        # DDI has no report of a version: the device says by this that it runs the new one.
        reports.insert(0, Report(messages.REPORT_VERSION, version))
        controller.wants_attributes = True
    elif not _is_wanted(attempt):
        # It may be about another attempt than the current one, which must not fail for it.
        reports = [_notice(report)]
    _store(session, device, reports, message, now, rules)
    if said.ended:
        controller.assignment_id = None


def take_cancellation(
    session: Session,
    place: tuple[str, str, int],
    said: device_messages.Feedback,
    message: Message,
    now: float,
    rules: Rules,
) -> None:
    """Apply what a device says about a cancellation. Raises ActionError."""
    device, controller, attempt = _expect_locked(session, place, CANCEL, rules=rules)
    _store(session, device, [_notice(said.report(attempt.firmware.version))], message, now, rules)
    if said.execution in (device_messages.CLOSED, device_messages.CANCELED):
        controller.assignment_id = None


def take_confirmation(
    session: Session,
    place: tuple[str, str, int],
    said: device_messages.Confirmation,
    message: Message,
    now: float,
    rules: Rules,
) -> None:
    """Apply a device's answer to a request for consent; after a refusal, the update waits. Raises
    ActionError.
    """
    device, controller, attempt = _expect_locked(session, place, CONFIRM, DEPLOY, rules=rules)
    controller.confirmed = said.confirmed
    words = "confirmed" if said.confirmed else "the device rejected the update"
    words = f"{words}: {said.message}" if said.message else words
    notice = Report(messages.REPORT_NOTICE, attempt.firmware.version, result_msg=words[:256])
    _store(session, device, [notice], message, now, rules)


def take_attributes(
    session: Session, tenant: str, name: str, body: bytes, message: Message, now: float,
    rules: Rules,
) -> None:  # fmt: skip
    """Store a device's attributes. Raises FeedbackError, UserError."""
    device, controller = _known(session, tenant, name, now, rules)
    controller.attributes = device_messages.read_attributes(body, controller.attributes)
    controller.wants_attributes = False
    device.last_seen = now
    touch(session, device)
    session.flush()
    if report := device_messages.version_report(controller.attributes):
        _store(session, device, [report], message, now, rules)


def set_auto_confirm(session: Session, tenant: str, name: str, now: float, on: bool,
                     rules: Rules) -> None:  # fmt: skip
    _, controller = _known(session, tenant, name, now, rules)
    controller.auto_confirm = on


def _notice(report: Report) -> Report:
    return Report(messages.REPORT_NOTICE, report.version, result_msg=report.result_msg)


def _store(
    session: Session,
    device: Device,
    reports: list[Report],
    message: Message,
    now: float,
    rules: Rules,
) -> None:
    names = device.product_id, device.device_name
    heard = [Heard(message, report, report.kind, names) for report in reports]
    with session.no_autoflush:
        # The answers are messages of MQTT, which this device does not read.
        store(session, heard, now, rules.back_off, device.status, Counter())
    session.flush()
