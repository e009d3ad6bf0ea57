"""A device's update history, derived from the pushes and the reports of each update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload

from ..mqtt.messages import REPORT_PROGRESS, REPORT_VERSION
from ..rollout import assignment_states
from ..store.models import Assignment, Device, Push, Report
from . import formatting

EVENTS = 400  # maximum reports of one attempt that its history uses


@dataclass
class Event:
    """An event of a device, in words. `at` and `until` are Unix seconds."""

    at: float
    text: str
    tone: str = "calm"
    detail: str = ""
    until: float = 0.0
    count: int = 1
    percent: int | None = None


@dataclass
class Story:
    """One attempt with all its events."""

    attempt: Assignment
    events: list[Event] = field(default_factory=list)
    resumes: int = 0
    bytes: float = 0.0  # received, according to the reported percentages
    rolled_back: bool = False
    left_out: int = 0

    @property
    def size(self) -> int:
        """Return the size of the device's download: a patch if it has one, or the firmware."""
        return (self.attempt.patch or self.attempt.firmware).size

    @property
    def open(self) -> bool:
        return self.attempt.state not in assignment_states.CLOSED

    @property
    def took_s(self) -> float:
        begun = self.attempt.first_push_at or self.attempt.created_at
        return max((self.attempt.ended_at or self.attempt.updated_at) - begun, 0.0)


def attempts(device: Device) -> Select[tuple[Assignment]]:
    """Query a device's attempts, with all columns that the history needs."""
    query = select(Assignment).where(Assignment.device_id == device.id)
    return query.options(
        joinedload(Assignment.firmware),
        joinedload(Assignment.patch),
        joinedload(Assignment.campaign),
    )


def stories(session: Session, device: Device, attempts: Sequence[Assignment]) -> list[Story]:
    """Return the stories of some of a device's attempts, each in order of time."""
    ids = [each.id for each in attempts]
    pushes: dict[int, list[float]] = {each: [] for each in ids}
    for at, number in session.execute(
        select(Push.at, Push.assignment_id).where(Push.assignment_id.in_(ids)).order_by(Push.id)
    ).tuples():
        pushes[number].append(at)
    said: dict[int, list[Report]] = {each: [] for each in ids}
    newest = (
        select(Report)
        .where(Report.device_id == device.id, Report.assignment_id.in_(ids))
        .order_by(Report.id.desc())
        .limit(len(attempts) * EVENTS)
    )
    for report in reversed(session.scalars(newest).all()):
        if report.assignment_id is not None:
            said[report.assignment_id].append(report)
    return [tell(each, said[each.id], pushes[each.id]) for each in attempts]


def tell(attempt: Assignment, reports: Sequence[Report], pushes: Sequence[float]) -> Story:
    """Derive an attempt's history from its pushes and reports."""
    left_out = max(len(reports) - EVENTS, 0)
    telling = _Telling(Story(attempt, left_out=left_out))
    order = [(at, None) for at in pushes] + [(each.at, each) for each in reports[left_out:]]
    order.sort(key=lambda pair: pair[0])
    for at, report in order:
        if report is None:
            telling.on_push(at)
        elif report.kind == REPORT_VERSION:
            telling.on_version(report)
        elif report.kind == REPORT_PROGRESS and report.version == attempt.firmware.version:
            telling.on_progress(report)
    if attempt.state == assignment_states.DOWNLOADING:
        telling.on_reached(attempt.updated_at, attempt.percent or 0)
    return telling.story


class _Telling:
    """An unfinished history, with the state that the next event needs."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self._percent = 0  # received so far
        self._piece: Event | None = None  # the download that was started or resumed last
        self._downloading = False
        self._broken = False  # the download was interrupted
        self._installed = False  # a trial is in progress
        self._version: str | None = None  # the last one reported

    def _add(self, at: float, text: str, tone: str, **more: Any) -> None:
        self.story.events.append(Event(at, text, tone, until=at, **more))

    def on_push(self, at: float) -> None:
        self._broken = self._broken or self._downloading
        events = self.story.events
        if events and events[-1].text == "pushed":
            events[-1].count += 1
            events[-1].until = at
        else:
            self._add(at, "pushed", "info")

    def on_version(self, report: Report) -> None:
        self._broken = self._broken or self._downloading
        if report.version != self._version:
            arrived = report.version == self.story.attempt.firmware.version
            self._add(
                report.at, f"reported version {report.version}", "good" if arrived else "calm"
            )
        self._version = report.version

    def on_progress(self, report: Report) -> None:
        if report.state == "downloading":
            self._on_piece(report.at, report.percent or 0)
        elif report.state == "burning":
            self.on_reached(report.at, 100)
            text = "download complete, MD5 verified; installing"
            self._add(report.at, text, "info")
            self._downloading, self._installed = False, True
        elif report.state == "done":
            self.on_reached(report.at, 100)
            # A device may report it twice, with its version in between.
            if not any(event.text.startswith("done") for event in self.story.events[-2:]):
                self._add(report.at, "done: trial passed, update confirmed", "good")
            self._downloading = False
        elif report.state == "fail":
            self._on_fail(report)

    def _on_piece(self, at: float, percent: int) -> None:
        if self._downloading and self._broken and percent:
            self.story.resumes += 1
            self._add(at, f"resumed the download at {percent} %", "info", percent=percent)
        elif not self._downloading or percent < self._percent:
            text = "started the download" + (f" at {percent} %" if percent else "")
            self._add(at, text, "info", percent=percent)
        else:  # stored by an older version of ivota, which kept each percentage
            self.on_reached(at, percent)
            return
        self._piece = self.story.events[-1]
        self._received(percent)
        self._downloading, self._broken, self._installed = True, False, False

    def on_reached(self, at: float, percent: int) -> None:
        """Note the progress of the latest download."""
        if self._downloading and not self._broken and self._piece:
            self._piece.until, self._piece.percent = at, percent
            self._received(percent)

    def _received(self, percent: int) -> None:
        self.story.bytes += max(percent - self._percent, 0) / 100 * self.story.size
        self._percent = percent

    def _on_fail(self, report: Report) -> None:
        if report.percent is not None:
            self.on_reached(report.at, report.percent)
        text = f"failed: {formatting.code(report.result_code)}"
        if self._installed and report.result_code == -5:
            self.story.rolled_back = True
            text = "trial failed: rolled back to the previous version"
        detail = f"{report.result_code} {report.result_msg or ''}".strip()
        self._add(report.at, text, "bad", detail=detail)
        self._broken, self._installed = self._downloading, False
