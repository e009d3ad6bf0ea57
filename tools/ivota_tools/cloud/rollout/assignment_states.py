"""The rules of one assignment: when to push. No database, no network, no clock.

    waiting ─push→ pushed → downloading → burning → done
       ↑             └────────── fail ──────┘
       └─ back-off ─ retry ←──────┴──→ failed     (current: runs it, `done` is still pending)

An operator can leave any of these states to superseded or cancelled; a device that already runs a
newer version, or has got one elsewhere, is skipped. `next_push_at` alone schedules a push: the
sender takes what is due.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...common.version_order import is_older
from ..mqtt.messages import Report
from ..store.models import Assignment, Device, Failure

WAITING, PUSHED, DOWNLOADING, BURNING = "waiting", "pushed", "downloading", "burning"
CURRENT, RETRY, DONE, FAILED, SUPERSEDED = "current", "retry", "done", "failed", "superseded"
CANCELLED, SKIPPED = "cancelled", "skipped"
CLOSED = (DONE, FAILED, SUPERSEDED, CANCELLED, SKIPPED)
UNFINISHED = (WAITING, PUSHED, DOWNLOADING, BURNING, CURRENT, RETRY)
ACTIVE = (PUSHED, DOWNLOADING, BURNING)

SOFT_CODES = (-1, -2, -3)  # download failures: timeout, missing file, expired signature
TIMED_OUT = -1
UNUSABLE = -5
FAILURES_MOST = 100  # rows of an attempt: a device can invent reasons without end
HARD_MOST = 3  # total number of failures with -4, -5 and undefined codes


@dataclass(frozen=True)
class BackOff:
    """The delay before a retry in seconds: `first_s`, doubled each time, up to `most_s`."""

    first_s: float = 10.0
    most_s: float = 3600.0

    def after(self, failures: int) -> float:
        # Limit the exponent: a float overflows at 2**1024.
        return min(self.first_s * 2.0 ** min(failures - 1, 60), self.most_s)


def begin(assignment: Assignment, running: str | None, now: float, on_trial: bool = False) -> None:
    """Start an attempt; `running` is None before the device's first report. A device that runs
    the target is done at once, unless it is `on_trial` with it since an earlier push.
    """
    assignment.state = WAITING
    assignment.next_push_at = None
    assignment.updated_at = now
    if running == assignment.firmware.version:
        if on_trial:
            assignment.state = CURRENT
        else:
            _runs_it(assignment, now)
    elif running is not None and not _skip(assignment, running, now):
        assignment.next_push_at = now


def await_report(assignment: Assignment, now: float) -> None:
    """Start an attempt for a device that may run another version than the one in the database."""
    begin(assignment, None, now)
    assignment.restored = True


def is_trial(old: Assignment | None, version: str) -> bool:
    """Return whether the previous attempt has installed this version and is not done yet."""
    return (
        old is not None
        and old.firmware.version == version
        and old.state not in CLOSED
        and (old.pushes > 0 or old.state == CURRENT)
    )


def _runs_it(assignment: Assignment, now: float) -> None:
    """Handle a device that runs the target without a push."""
    assignment.percent, assignment.next_push_at = 100, None
    _close(assignment, DONE, now)


def _close(assignment: Assignment, state: str, now: float) -> None:
    assignment.state, assignment.ended_at, assignment.unasked = state, now, False


def on_version(
    assignment: Assignment, running: str, now: float, before: str | None = None
) -> None:
    """Handle a version report: the device is up to date, or a push is due.

    `before` is the version of the previous report, or None if there was none.
    """
    if assignment.state == DONE:
        assignment.left_target = running != assignment.firmware.version
    if assignment.state in CLOSED:
        return
    assignment.updated_at = now
    # Its `done` may have come after the backup, and is not repeated.
    restored, assignment.restored = assignment.restored, False
    _interrupt(assignment)
    if running == assignment.firmware.version:
        if not restored and (assignment.pushes or assignment.state == CURRENT):
            assignment.state, assignment.next_push_at = CURRENT, None
        else:
            _runs_it(assignment, now)
    elif _skip(assignment, running, now):
        return
    elif _was_elsewhere(assignment, running, before):
        assignment.next_push_at = None
        _close(assignment, SKIPPED, now)
    elif assignment.state != RETRY:
        assignment.next_push_at = now
    # In RETRY, the end of the back-off is already the next push.


def running(device: Device) -> str | None:
    """Return the version that the device reported last, in a version report or with `done`."""
    assignment = device.assignment
    if assignment and assignment.state == DONE and not assignment.left_target:
        return assignment.firmware.version
    return device.version


def _skip(assignment: Assignment, running: str, now: float) -> bool:
    """Skip a device that runs a newer version, if only outdated devices are to be updated."""
    if not assignment.only_outdated or is_older(running, assignment.firmware.version):
        return False
    assignment.next_push_at = None
    _close(assignment, SKIPPED, now)
    return True


def _was_elsewhere(assignment: Assignment, running: str, before: str | None) -> bool:
    """Return whether this update moved the device elsewhere, and it has a newer version from
    there.

    The update may have moved it to a channel, and a later version back. Another push of the update
    would move it away again.
    """
    return (
        assignment.state in (DOWNLOADING, BURNING)
        and before not in (None, running)
        and not is_older(running, assignment.firmware.version)
    )


def _interrupt(assignment: Assignment) -> None:
    if assignment.state == DOWNLOADING:
        assignment.interrupted = True


def is_percentage(assignment: Assignment, report: Report) -> bool:
    """Return whether a report only contains progress of the current download.

    The attempt keeps its percentage, and nothing else. A download that resumes or restarts is
    another event.
    """
    return (
        report.state == "downloading"
        and assignment.state == DOWNLOADING
        and report.version == assignment.firmware.version
        and not assignment.interrupted
        and (100 if report.percent is None else report.percent) >= (assignment.percent or 0)
    )


def on_progress(assignment: Assignment, report: Report, now: float, back_off: BackOff) -> None:
    """Handle a progress report. Reports for a version other than the target are ignored."""
    if report.version != assignment.firmware.version or assignment.state == SUPERSEDED:
        return
    assignment.restored = False
    if report.state == "done":
        # Also after FAILED or CANCELLED: the device runs the target now, whatever came
        # before. A device may report it twice.
        if assignment.state != DONE:
            _set(assignment, DONE, report, now)
        assignment.percent, assignment.left_target = 100, False
    elif assignment.state in CLOSED:
        return
    elif report.state == "fail":
        _on_fail(assignment, report, now, back_off)
    else:
        _set(assignment, DOWNLOADING if report.state == "downloading" else BURNING, report, now)
        assignment.percent = 100 if report.percent is None else report.percent
        assignment.interrupted = False
        if assignment.percent:
            assignment.unasked = False


def on_notice(assignment: Assignment, report: Report) -> None:
    """Handle a notice that explains why the device has not started; the attempt continues."""
    if assignment.state == PUSHED and report.version in (None, assignment.firmware.version):
        assignment.result_code, assignment.result_msg = None, report.result_msg


def _on_fail(assignment: Assignment, report: Report, now: float, back_off: BackOff) -> None:
    # A failure counts once per push: the same report may be delivered twice (QoS 1).
    if assignment.state == RETRY:
        return
    _note_failure(assignment, report.result_code, report.result_msg, now)
    if assignment.patch_id is not None and report.result_code not in SOFT_CODES:
        # The firmware is not to blame yet: send the device the full firmware at once.
        assignment.patch_id, assignment.whole_only = None, True
        _set(assignment, RETRY, report, now)
        assignment.next_push_at = now
        return
    if report.result_code in SOFT_CODES:
        assignment.soft_failures += 1
        failures = assignment.soft_failures
    else:
        assignment.hard_failures += 1
        failures = assignment.hard_failures
    if assignment.hard_failures >= HARD_MOST:
        _set(assignment, FAILED, report, now)
    else:
        _set(assignment, RETRY, report, now)
        assignment.next_push_at = now + back_off.after(failures)


def _note_failure(assignment: Assignment, code: int | None, words: str | None, now: float) -> None:
    """Store the failure, because later reports of the attempt overwrite the other fields.

    A repeated reason adds no row: behind a server that is down, each device fails every hour.
    """
    last = assignment.failure_code, assignment.failure_msg
    count = assignment.failure_count or 0
    if count == 0 or (last != (code, words) and count < FAILURES_MOST):
        assignment.failure_count = count + 1
        assignment.failures.add(Failure(number=count + 1, at=now, code=code, message=words))
    assignment.failed_at, assignment.failure_code, assignment.failure_msg = now, code, words


def _set(assignment: Assignment, state: str, report: Report, now: float) -> None:
    assignment.state = state
    assignment.ended_at = now if state in CLOSED else None
    assignment.next_push_at = None
    assignment.result_code = report.result_code
    assignment.result_msg = report.result_msg
    assignment.updated_at = now


def on_pushed(assignment: Assignment, now: float) -> None:
    """Record a sent push. A device that is downloading keeps that state."""
    _interrupt(assignment)
    assignment.pushes += 1
    assignment.next_push_at = None
    assignment.updated_at = now
    assignment.first_push_at = assignment.first_push_at or now
    assignment.unasked = False
    if assignment.state not in ACTIVE:
        assignment.started_at = now
    if assignment.state not in (DOWNLOADING, BURNING):
        assignment.state = PUSHED


def cancel(assignment: Assignment, now: float) -> None:
    """Cancel the attempt: no more pushes. A finished attempt keeps its result."""
    assignment.next_push_at = None
    if assignment.state not in CLOSED:
        _close(assignment, CANCELLED, now)


def time_out(assignment: Assignment, now: float, words: str) -> None:
    """Handle a timeout. A device that runs the target has merely not confirmed it, and a failure
    that a device has reported says more than the timeout.
    """
    assignment.next_push_at = None
    if assignment.state == CURRENT:
        _close(assignment, DONE, now)
    else:
        _close(assignment, FAILED, now)
        assignment.result_code, assignment.result_msg = TIMED_OUT, words
        if assignment.failed_at is None:
            _note_failure(assignment, TIMED_OUT, words, now)


def reject(assignment: Assignment, now: float, words: str) -> None:
    """Fail the attempt without a push: the device cannot use this firmware."""
    assignment.next_push_at = None
    _close(assignment, FAILED, now)
    assignment.result_code, assignment.result_msg = UNUSABLE, words
    _note_failure(assignment, UNUSABLE, words, now)


def supersede(assignment: Assignment, now: float) -> None:
    """Replace the attempt by another; a finished attempt keeps its result."""
    assignment.current = False
    assignment.next_push_at = None
    if assignment.state not in CLOSED:
        _close(assignment, SUPERSEDED, now)
