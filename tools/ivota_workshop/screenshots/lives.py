"""Update histories for the sample fleet: the reports of a device in one attempt, with times."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy.orm import Session

from ivota_tools.cloud.store.models import Assignment, Device, Push, Report

from .releases import BEFORE, NEW

TRIAL = "crashed in its trial, ImportError no module named 'bme280' in app.py:3"


class Life:
    """Write one attempt's reports, one after another."""

    def __init__(self, session: Session, attempt: Assignment) -> None:
        self._session = session
        self._attempt = attempt
        self._device = session.get_one(Device, attempt.device_id)
        assert attempt.first_push_at
        self._begun = self._at = attempt.first_push_at

    def go_well(self) -> None:
        """Update to BEFORE without any problem."""
        ended = self._attempt.updated_at
        for percent in range(0, 101, 10):
            self._at = self._begun + 1 + (ended - self._begun - 12) * percent / 100
            self._progress("downloading", BEFORE, percent=percent)
        self._at = ended - 10
        self._progress("burning", BEFORE)
        self._at = ended - 0.1
        self._runs(BEFORE)
        self._at = ended
        self._progress("done", BEFORE, result_code=0)

    def go_on(self) -> None:
        """Update to NEW over a bad link: resumes, a failure, a second push, success."""
        self._at -= 1
        self._runs(BEFORE, before_the_attempt=True)
        self._at += 3
        self._download(0, 6, 13, 19, 27, 33, 41)
        self._at += 95
        self._runs(BEFORE)
        self._push_again(0.2)
        self._download(41, 48, 55, 63)
        self._at += 70
        self._progress("fail", result_code=-1, result_msg="time_out: reset 3, silence 2")
        self._at += 12
        self._runs(BEFORE)
        self._push_again(0.2)
        self._download(63, 70, 78, 86, 94, 100)
        self._at += 0.5
        self._progress("burning")
        self._at += 9
        self._runs(NEW)
        self._at += 0.1
        self._progress("done", result_code=0)
        attempt = self._attempt
        attempt.pushes, attempt.soft_failures, attempt.updated_at = 3, 1, self._at

    def go_back(self) -> None:
        """Fail a trial, and reject two more pushes of that version from memory."""
        self._download(0, 38, 74, 100)
        self._at += 1
        self._progress("burning")
        self._at += 39
        for number in range(3):
            if number:
                self._push_again(0.0)
                self._at += 0.4
            self._progress("fail", result_code=-5, result_msg=TRIAL)
            self._at += 0.1
            self._runs(BEFORE)
            self._at += 10 * 2**number

    def _download(self, *percents: int) -> None:
        for percent in percents:
            self._at += 1
            self._progress("downloading", percent=percent)

    def _push_again(self, later_s: float) -> None:
        self._session.add(Push(at=self._at + later_s, assignment_id=self._attempt.id))

    def _runs(self, version: str, before_the_attempt: bool = False) -> None:
        said = {"type": "report_version", "report": {"version": version}}
        self._report(said, None if before_the_attempt else self._attempt, version)

    def _progress(self, state: str, version: str = NEW, **more: Any) -> None:
        progress = {key: str(value) for key, value in {"state": state, **more}.items()}
        report = {"progress": progress, "version": version}
        said = {"type": "report_progress", "report": report}
        self._report(said, self._attempt, version, state=state, **more)

    def _report(
        self, said: dict[str, Any], attempt: Assignment | None, version: str, **columns: Any
    ) -> None:
        raw = json.dumps(said).encode()
        self._session.add(
            Report(
                at=self._at,
                device_id=self._device.id,
                assignment_id=attempt.id if attempt else None,
                topic=f"$ota/report/{self._device.name}",
                kind=said["type"],
                version=version,
                raw=raw,
                raw_size=len(raw),
                **columns,
            )
        )
