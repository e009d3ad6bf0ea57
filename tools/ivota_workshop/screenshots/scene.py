"""Write a sample fleet as of some afternoon into a console's database, for the screenshots.

It is always the same, except for the time of day.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

from sqlalchemy.orm import Session

from ivota_tools.cloud.rollout import assignment_states, campaign_rules
from ivota_tools.cloud.store.database import Database, next_revision
from ivota_tools.cloud.store.models import (
    Assignment,
    Audit,
    Campaign,
    Change,
    Device,
    DeviceTag,
    Failure,
    Firmware,
    Group,
    Member,
    Push,
)

from .lives import TRIAL, Life
from .releases import BEFORE, NEW, OLD

PRODUCT = "GREENHOUSE"
ROWS, PER_ROW = 12, 18
MIN, HOUR, DAY = 60.0, 3600.0, 86400.0
PLACES = ("bed", "fan", "light", "mist", "pump", "roof", "soil", "tank", "vent")
RESUMED = "bed-01"  # the device whose update history is shown
BETA = "tag:beta seen<1d"


@dataclass
class Scene:
    """The created objects that the screenshots show."""

    device: int
    failed: int
    firmware: int
    campaign: int
    stopped: int


def fill(database: Database, firmware: list[int], now: float) -> Scene:
    """Add devices, their history, and finished, running and automatically stopped campaigns."""
    with database.writing() as session:
        return _Filling(session, firmware, now).fill()


class _Filling:
    def __init__(self, session: Session, firmware: list[int], now: float) -> None:
        self._session, self._now = session, now
        self._draw = random.Random(7)
        self._firmware = [session.get_one(Firmware, each) for each in firmware]
        for each, age in zip(self._firmware, (9 * DAY, 2 * DAY, 5 * HOUR), strict=True):
            each.uploaded_at = now - age
        self._devices: list[Device] = []

    def fill(self) -> Scene:
        self._make_devices()
        finished = self._campaign(
            "Autumn release", 1, 26 * HOUR, campaign_rules.FINISHED, 20 * HOUR
        )
        stopped = self._campaign(
            "Beta, first try", 2, 4 * HOUR, campaign_rules.STOPPED, query=BETA
        )
        running = self._campaign("Winter release", 2, 75 * MIN, campaign_rules.RUNNING)
        beta = self._devices[:12]
        self._first(finished)
        self._stop(stopped, beta)
        failed = self._run(running, self._devices[12:])
        shown = beta[0]
        self._tell(shown)
        self._session.add(Group(name="beta", query=BETA, created_at=self._now - 3 * DAY))
        self._audit()
        for device in self._devices:
            device.revision = next_revision(self._session)
        return Scene(shown.id, failed.id, self._firmware[2].id, running.id, stopped.id)

    def _make_devices(self) -> None:
        for row in range(1, ROWS + 1):
            for number in range(1, PER_ROW + 1):
                place = PLACES[(number - 1) % len(PLACES)]
                name = f"{place}-{row:02}" if number <= len(PLACES) else f"{place}-{row:02}b"
                first = self._now - 12 * DAY - self._draw.uniform(0, 3 * HOUR)
                device = Device(
                    product_id=PRODUCT,
                    device_name=name,
                    application="thermometer",
                    hardware="rev-a" if row < 3 else "rev-b",
                    version=OLD,
                    first_seen=first,
                    last_seen=self._now - self._draw.uniform(2, 500),
                    garbled=0,
                    revision=0,
                    secret="c2VjcmV0",
                )
                self._devices.append(device)
        self._draw.shuffle(self._devices)
        shown = next(each for each in self._devices if each.device_name == RESUMED)
        self._devices.remove(shown)
        self._devices.insert(0, shown)
        self._session.add_all(self._devices)
        self._session.flush()
        for number, device in enumerate(self._devices):
            if number < 12:
                self._session.add(DeviceTag(device_id=device.id, tag="beta"))
            assert device.first_seen
            self._change(device, OLD, device.first_seen, None)

    def _change(self, device: Device, version: str, at: float, before: str | None) -> None:
        self._session.add(Change(at=at, device_id=device.id, before=before, after=version))
        device.version = version

    def _campaign(
        self,
        name: str,
        firmware: int,
        begun: float,
        state: str,
        took: float | None = None,
        query: str = "",
    ) -> Campaign:
        started = self._now - begun
        campaign = Campaign(
            name=name,
            firmware=self._firmware[firmware],
            query=query,
            state=state,
            reason="5 of 12 failed" if state == campaign_rules.STOPPED else "",
            stages=[{"percent": 5.0}, {"percent": 40.0}, {"percent": 100.0}],
            stage=1
            if state == campaign_rules.RUNNING
            else 2
            if state == campaign_rules.FINISHED
            else 0,
            success_share=0.95,
            soak_s=30 * MIN,
            stop_share=0.2,
            stop_least=10,
            timeout_s=DAY,
            active_most=25,
            starts_per_min=None,
            only_outdated=True,
            start_at=None,
            created_at=started - 4 * MIN,
            started_at=started,
            ended_at=started + took if took else None,
        )
        self._session.add(campaign)
        self._session.flush()
        return campaign

    def _attempt(
        self,
        campaign: Campaign,
        device: Device,
        stage: int,
        state: str,
        begun: float,
        ended: float,
        *,
        percent: int | None = None,
        code: int | None = None,
        words: str | None = None,
        current: bool = True,
        failures: int = 0,
    ) -> Assignment:
        attempt = Assignment(
            device_id=device.id,
            firmware=campaign.firmware,
            campaign_id=campaign.id,
            only_outdated=True,
            current=current,
            state=state,
            percent=percent,
            result_code=code,
            result_msg=words,
            pushes=0 if state == assignment_states.WAITING else max(failures, 1),
            hard_failures=failures,
            created_at=campaign.started_at or begun,
            updated_at=ended,
            ended_at=ended if state in assignment_states.CLOSED else None,
            failed_at=ended if (code or 0) < 0 else None,
            failure_code=code if (code or 0) < 0 else None,
            failure_msg=words if (code or 0) < 0 else None,
            first_push_at=None if state == assignment_states.WAITING else begun,
            started_at=None if state == assignment_states.WAITING else begun,
        )
        if attempt.failed_at:
            attempt.failure_count = 1
            attempt.failures.add(Failure(number=1, at=ended, code=code, message=words))
        self._session.add(attempt)
        self._session.flush()
        self._session.add(
            Member(
                campaign_id=campaign.id,
                device_id=device.id,
                stage=stage,
                assignment_id=attempt.id,
            )
        )
        if state != assignment_states.WAITING:
            self._session.add(Push(at=begun, assignment_id=attempt.id))
        return attempt

    def _first(self, campaign: Campaign) -> None:
        """Update everybody from 0.1 to 0.2 over a night."""
        assert campaign.started_at
        ends = campaign_rules.bounds(campaign.stages, len(self._devices))
        for number, device in enumerate(self._devices):
            stage = next(i for i, end in enumerate(ends) if number < end)
            begun = campaign.started_at + (0.0, 2 * HOUR, 7 * HOUR)[stage]
            begun += self._draw.uniform(0, (20 * MIN, 2 * HOUR, 9 * HOUR)[stage])
            ended = begun + self._draw.uniform(40, 200)
            self._attempt(campaign, device, stage, assignment_states.DONE, begun, ended,
                          percent=100, code=0, current=False)  # fmt: skip
            self._change(device, BEFORE, ended, OLD)

    def _stop(self, campaign: Campaign, devices: list[Device]) -> None:
        assert campaign.started_at
        for number, device in enumerate(devices):
            begun = campaign.started_at + self._draw.uniform(5, 400)
            failed = number % 5 == 1 or number in (3, 8)
            state = assignment_states.FAILED if failed else assignment_states.DONE
            self._attempt(campaign, device, 0, state, begun, begun + 300, percent=100,
                          code=-5 if failed else 0, words=TRIAL if failed else "",
                          failures=3 if failed else 0)  # fmt: skip
            if not failed:
                self._change(device, NEW, begun + 300, BEFORE)

    def _run(self, campaign: Campaign, devices: list[Device]) -> Device:
        """Start the update from 0.2 to 0.3, now in its second stage; return a failed attempt."""
        now = self._now
        ends = campaign_rules.bounds(campaign.stages, len(devices))
        failed: Device | None = None
        for number, device in enumerate(devices):
            stage = next(i for i, end in enumerate(ends) if number < end)
            if stage > campaign.stage:
                self._session.add(
                    Member(campaign_id=campaign.id, device_id=device.id, stage=stage)
                )
                self._keep(device)
                continue
            begun = now - 40 * MIN + self._draw.uniform(0, 25 * MIN)
            if number in (20, 31):
                attempt = self._attempt(campaign, device, stage, assignment_states.FAILED, begun,
                                        begun + 9 * MIN, percent=100, code=-5, words=TRIAL,
                                        failures=3)  # fmt: skip
                failed = failed or device
            elif number == 24:
                attempt = self._attempt(campaign, device, stage, assignment_states.FAILED, begun,
                                        begun + 8 * MIN, percent=62, code=-4,
                                        words="the MD5 does not match", failures=3)  # fmt: skip
            elif number == 40:
                attempt = self._attempt(campaign, device, stage, assignment_states.RETRY, begun,
                                        now - 2 * MIN, percent=34, code=-1,
                                        words="time_out: 8 tries without a block")  # fmt: skip
                attempt.soft_failures, attempt.next_push_at = 3, now + 3 * HOUR
            elif number == 44:
                attempt = self._attempt(campaign, device, stage, assignment_states.DOWNLOADING,
                                        begun, now - 21 * MIN, percent=48)  # fmt: skip
                device.last_seen = now - 21 * MIN
            elif number in (50, 53, 58, 61, 66):
                percent = 13 + 17 * (number % 5)
                attempt = self._attempt(campaign, device, stage, assignment_states.DOWNLOADING,
                                        now - 40, now - 1, percent=percent)  # fmt: skip
                device.last_seen = now - 1
            elif number in (70, 72):
                attempt = self._attempt(campaign, device, stage, assignment_states.BURNING,
                                        now - 60, now - 3, percent=100)  # fmt: skip
                device.last_seen = now - 3
            else:
                attempt = self._attempt(campaign, device, stage, assignment_states.DONE, begun,
                                        begun + 120, percent=100, code=0)  # fmt: skip
                self._change(device, NEW, begun + 120, BEFORE)
            attempt.created_at = begun - 30
        assert failed
        return failed

    def _keep(self, device: Device) -> None:
        """Make the finished campaign's attempt the device's current one again."""
        self._session.flush()
        query = self._session.query(Assignment).filter_by(device_id=device.id)
        query.update({"current": True})

    def _tell(self, device: Device) -> None:
        """Write the update histories that are shown: this device's, and those of failed trials."""
        self._session.flush()
        attempts = self._session.query(Assignment)
        failed = (
            attempts.filter_by(state=assignment_states.FAILED, result_code=-5)
            .order_by(Assignment.id.desc())
            .all()
        )
        ids = [device.id, *(each.device_id for each in failed)]
        before = attempts.filter_by(state=assignment_states.DONE, current=False)
        for each in before.filter(Assignment.device_id.in_(ids)):
            Life(self._session, each).go_well()
        Life(self._session, attempts.filter_by(device_id=device.id, current=True).one()).go_on()
        for each in failed:
            Life(self._session, each).go_back()

    def _audit(self) -> None:
        now = self._now
        # Date the commands that created the scene before its events, in their order.
        for number, line in enumerate(self._session.query(Audit).order_by(Audit.id)):
            line.at = now - 9 * DAY + number * 7 * MIN
        lines: list[tuple[float, str, str, str, dict[str, object]]] = [
            (26.1 * HOUR, "maria", "campaign create", "1 Autumn release", {"version": BEFORE}),
            (26 * HOUR, "maria", "campaign start", "1 Autumn release", {"devices": 216}),
            (24 * HOUR, "engine", "campaign stage", "1 Autumn release", {"stage": 2}),
            (19 * HOUR, "engine", "campaign stage", "1 Autumn release", {"stage": 3}),
            (6 * HOUR, "engine", "campaign finished", "1 Autumn release", {}),
            (5 * HOUR, "build server", "firmware upload", NEW, {"size": 216_000}),
            (4 * HOUR, "tom", "campaign start", "2 Beta, first try", {"devices": 12}),
            (3.9 * HOUR, "engine", "campaign stopped", "2 Beta, first try",
             {"reason": "5 of 12 failed"}),
            (80 * MIN, "maria", "device tag", f"{PRODUCT}/{RESUMED}", {"tags": ["beta"]}),
            (75 * MIN, "maria", "campaign start", "3 Winter release", {"devices": 204}),
            (41 * MIN, "engine", "campaign stage", "3 Winter release", {"stage": 2}),
            (12 * MIN, "tom", "device retry", f"{PRODUCT}/pump-04", {"version": NEW}),
        ]  # fmt: skip
        for age, who, action, subject, detail in lines:
            text = json.dumps(detail) if detail else ""
            self._session.add(
                Audit(at=now - age, who=who, action=action, subject=subject, detail=text)
            )
