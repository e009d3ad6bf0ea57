"""One device: where it stands, what can be done, and its life line."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session, joinedload
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute

from .. import campaigns, explain, rollout
from ..assign import touch
from ..audit import note
from ..models import TAG_MOST, Assignment, Change, Device, DeviceTag, Firmware, Push, Report
from ..protocol import REPORT_PROGRESS, REPORT_VERSION
from ..records import WITH_TARGET
from ..roles import OPERATOR
from ..users import UserError
from ..versions import key
from . import fleet, looking, words
from .frame import Setting, Visit, acting, route, row

ATTEMPTS = 10  # on a page
EVENTS = 400  # reports and pushes of one attempt that its story is made of
REPORTS = 50  # on a page
TAGS_MOST = 100


@dataclass
class Event:
    """Something in a device's life, in words. `at` and `until` are Unix seconds."""

    at: float
    text: str
    tone: str = "calm"
    detail: str = ""
    until: float = 0.0
    count: int = 1
    percent: int | None = None


@dataclass
class Story:
    """One attempt with all that happened in it."""

    attempt: Assignment
    events: list[Event] = field(default_factory=list)
    resumes: int = 0
    bytes: float = 0.0  # received, as far as the reported percentages say
    rolled_back: bool = False
    left_out: int = 0

    @property
    def size(self) -> int:
        """What a device fetches: a patch, where there is one for it, or the firmware."""
        return (self.attempt.patch or self.attempt.firmware).size

    @property
    def open(self) -> bool:
        return self.attempt.state not in rollout.CLOSED

    @property
    def took_s(self) -> float:
        begun = self.attempt.first_push_at or self.attempt.created_at
        return max(self.attempt.updated_at - begun, 0.0)


def routes(setting: Setting) -> list[BaseRoute]:
    back = "/devices/{id}"

    def post(path: str, act: object) -> BaseRoute:
        handler = acting(back, act)  # type: ignore[arg-type]
        return route(setting, back.replace("{id}", "{id:int}") + path, handler, method="POST",
                     needed=OPERATOR)  # fmt: skip

    return [
        route(setting, "/devices/{id:int}", device),
        route(setting, "/devices/{id:int}/reports", reports),
        post("/push", fleet.update),
        post("/retry", retry),
        post("/cancel", cancel),
        post("/tags", tags),
    ]


def device(visit: Visit) -> Response:
    now = time.time()
    with visit.database.reading() as session:
        found = find(session, visit.number("id"))
        assignment = found.assignment
        count = session.scalar(
            select(func.count()).where(Assignment.device_id == found.id)
        ) or 0  # fmt: skip
        page = min(visit.page(), max(-(-count // ATTEMPTS), 1))
        return visit.show(
            "device.html",
            now=now,
            device=found,
            assignment=assignment,
            stalled=looking.is_stalled(assignment, now),
            why=explain.why(session, found, now),
            firmware=_choices(session, found),
            stories=stories(session, found, page),
            attempts=count,
            page=page,
            pages=max(-(-count // ATTEMPTS), 1),
            changes=_changes(session, found),
            can_retry=assignment is not None
            and assignment.state in (rollout.FAILED, rollout.RETRY, rollout.CANCELLED),
            can_cancel=assignment is not None and assignment.state not in rollout.CLOSED,
        )


def reports(visit: Visit) -> Response:
    """Every report, as it came."""
    with visit.database.reading() as session:
        found = find(session, visit.number("id"))
        count = session.scalar(select(func.count()).where(Report.device_id == found.id)) or 0
        pages = max(-(-count // REPORTS), 1)
        page = min(visit.page(), pages)
        query = select(Report).where(Report.device_id == found.id).order_by(Report.id.desc())
        rows = session.scalars(query.limit(REPORTS).offset((page - 1) * REPORTS)).all()
        return visit.show(
            "reports.html", device=found, reports=rows, count=count, page=page, pages=pages
        )


def find(session: Session, number: int) -> Device:
    found = row(session, Device, number, WITH_TARGET)
    if found is None:
        raise HTTPException(404, "There is no such device.")
    return found


def _choices(session: Session, device: Device) -> Sequence[Firmware]:
    """What can be pushed, newest version first; what it runs is not offered."""
    whole = select(Firmware).where(Firmware.whole_id.is_(None))
    found = session.scalars(whole.order_by(Firmware.id.desc()).limit(200)).all()
    offered = [each for each in found if each.version != device.version]
    return sorted(offered, key=lambda each: key(each.version), reverse=True)


def _changes(session: Session, device: Device) -> Sequence[Change]:
    query = select(Change).where(Change.device_id == device.id).order_by(Change.id.desc())
    return session.scalars(query.limit(12)).all()


def stories(session: Session, device: Device, page: int) -> list[Story]:
    """The newest attempts first, each told in order."""
    query = (
        select(Assignment)
        .where(Assignment.device_id == device.id)
        .order_by(Assignment.id.desc())
        .options(
            joinedload(Assignment.firmware),
            joinedload(Assignment.patch),
            joinedload(Assignment.campaign),
        )
        .limit(ATTEMPTS)
        .offset((page - 1) * ATTEMPTS)
    )
    attempts = session.scalars(query).all()
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
        .limit(ATTEMPTS * EVENTS)
    )
    for report in session.scalars(newest):
        if report.assignment_id is not None:
            said[report.assignment_id].insert(0, report)
    return [tell(each, said[each.id], pushes[each.id]) for each in attempts]


def tell(attempt: Assignment, reports: Sequence[Report], pushes: Sequence[float]) -> Story:
    """An attempt from what was sent and what was reported."""
    story = Story(attempt)
    left = max(len(reports) - EVENTS, 0)
    story.left_out = left
    order = [(at, None) for at in pushes] + [(each.at, each) for each in reports[left:]]
    order.sort(key=lambda pair: pair[0])
    events = story.events
    had = 0  # per cent that have arrived
    broken = False  # something came between two pieces of the download
    downloading = installed = False
    version: str | None = None
    target = attempt.firmware.version
    for at, report in order:
        if report is None:
            broken = broken or downloading
            if events and events[-1].text == "pushed":
                events[-1].count += 1
                events[-1].until = at
            else:
                events.append(Event(at, "pushed", "info", until=at))
        elif report.kind == REPORT_VERSION:
            broken = broken or downloading
            if report.version != version:
                tone = "good" if report.version == target else "calm"
                events.append(Event(at, f"says that it runs {report.version}", tone, until=at))
            version = report.version
        elif report.kind == REPORT_PROGRESS and report.version == target:
            if report.state == "downloading":
                percent = report.percent or 0
                if downloading and broken and percent:
                    story.resumes += 1
                    text = f"went on with the download at {percent} %"
                    events.append(Event(at, text, "info", until=at, percent=percent))
                elif not downloading or percent < had:
                    text = "began the download" + (f" at {percent} %" if percent else "")
                    events.append(Event(at, text, "info", until=at, percent=percent))
                else:
                    events[-1].until, events[-1].percent = at, percent
                    events[-1].count += 1
                story.bytes += max(percent - had, 0) / 100 * story.size
                had, downloading, broken, installed = percent, True, False, False
            elif report.state == "burning":
                text = "has the whole file, its MD5 is right; installs it"
                events.append(Event(at, text, "info", until=at))
                downloading, installed = False, True
            elif report.state == "done":
                if not any(event.text.startswith("done") for event in events[-2:]):
                    events.append(Event(at, "done: the trial is over, it stays", "good", until=at))
                downloading = False
            elif report.state == "fail":
                story.rolled_back = story.rolled_back or (installed and report.result_code == -5)
                text = "the trial failed; it went back to what it ran before" if (
                    installed and report.result_code == -5) else (
                    f"failed: {words.code(report.result_code)}")  # fmt: skip
                detail = f"{report.result_code} {report.result_msg or ''}".strip()
                events.append(Event(at, text, "bad", detail, until=at))
                broken, installed = downloading, False
    return story


def retry(visit: Visit) -> str:
    with visit.database.writing() as session:
        found = find(session, visit.number("id"))
        campaigns.retry_device(session, found, time.time(), visit.who)
        words_ = f"{found.name} is tried again."
    visit.setting.wake()
    return words_


def cancel(visit: Visit) -> str:
    with visit.database.writing() as session:
        found = find(session, visit.number("id"))
        campaigns.cancel_device(session, found, time.time(), visit.who)
        return f"The update of {found.name} is cancelled: no push goes out any more."


def tags(visit: Visit) -> str:
    """All of them, with commas or blanks in between."""
    given = sorted({each for each in visit.said("tags", 8192).replace(",", " ").split() if each})
    if len(given) > TAGS_MOST or any(len(each) > TAG_MOST for each in given):
        raise UserError(f"a device has at most {TAGS_MOST} tags of {TAG_MOST} characters")
    if not all(each.isprintable() for each in given):
        raise UserError("a tag has no control characters")
    with visit.database.writing() as session:
        found = find(session, visit.number("id"))
        session.execute(delete(DeviceTag).where(DeviceTag.device_id == found.id))
        session.add_all(DeviceTag(device_id=found.id, tag=each) for each in given)
        touch(session, found)
        note(session, visit.who, "device tag", found.name, tags=given)
        return f"{found.name} has {words.counted(len(given), 'tag')}."
