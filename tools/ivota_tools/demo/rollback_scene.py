"""The second scene: a broken version fails its trial, and the board rolls back."""

from __future__ import annotations

import json
import re
import shutil
import time
from dataclasses import dataclass
from typing import Any

from ivota_tools.demo import display, scene, update_scene
from ivota_tools.demo.display import Show
from ivota_tools.demo.stage import NAME, PRODUCT, Stage
from ivota_tools.firmware.release import Release, pack

TITLE = "0.3, a broken version"
GOOD, BROKEN = update_scene.NEW, "0.3"
STARTS = 3  # starts in a trial, if the configuration does not set a number
RESETS = STARTS + 1  # the first start of the trial, and one after each crash

# A typical mistake: the settings changed their unit, and app.py did not.
SETTINGS = {"every_ms": 5000, "keep": 720}

_STARTED = re.compile(rf"^ivota: running trial=True version={re.escape(BROKEN)}$")
_DIED = re.compile(r"^ivota: application_died why=(.*)$")
_BACK = re.compile(rf"^ivota: running trial=False version={re.escape(GOOD)}$")


@dataclass(frozen=True, kw_only=True)
class Outcome(scene.Outcome):
    """`md5` is that of the previous version, which must be active."""

    version_pushed: str
    result_code: str | None  # in the cloud's last report of the update; None if it did not fail
    result_msg: str | None
    starts: int  # of the broken version
    resets: int
    crashes: list[str]  # each time, why the application crashed, in the board's words

    @property
    def failures(self) -> list[str]:
        """Return the failed checks in sentences."""
        found = []
        if self.version_after != self.version_before:
            found.append(f"the board reports {self.version_after}, not {self.version_before}")
        if self.result_code != "-5" or not self.result_msg:
            found.append(
                f"the cloud shows {self.result_code} {self.result_msg}, not -5 and a reason"
            )
        if self.md5_on_flash != self.md5:
            found.append(f"the active firmware has the MD5 {self.md5_on_flash}, not {self.md5}")
        if (self.starts, len(self.crashes)) != (STARTS, STARTS):
            found.append(
                f"{self.version_pushed} started {self.starts} times and crashed "
                f"{len(self.crashes)} times; both must be {STARTS}"
            )
        if self.resets != RESETS:
            found.append(f"the board was reset {self.resets} times, not {RESETS}")
        return found

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Return the rows for display.print_table()."""
        return [
            self.states_seen,
            (
                "trial",
                f"{self.starts} starts of {self.version_pushed}, {len(self.crashes)} crashes, "
                f"{self.resets} resets",
            ),
            ("crashed with", ", ".join(dict.fromkeys(self.crashes))),
            ("active MD5", self.md5_judged),
            ("runs now", f"{self.version_after} ({self.version_pushed} was pushed)"),
        ]

    def json(self) -> dict[str, Any]:
        return {"name": "roll_back", **super().json()}


def play(stage: Stage, show: Show, md5: str) -> Outcome:
    """Play the scene on a board that is off and has GOOD, with that MD5; leave it off.

    Ends after scene.MOST_S at the latest.
    """
    until = time.monotonic() + scene.MOST_S
    release = _release(stage)
    stage.api.upload(release.path)
    before = stage.power_on(until)
    show.say(f"power on: the board runs {before}")
    lines, resets = len(stage.board.log), stage.board.resets
    pushed_at = time.time()
    received = stage.proxy.received
    stage.api.push(f"{PRODUCT}/{NAME}", BROKEN)
    show.say(f"pushed {release.application} {BROKEN}, {release.size:,} bytes")
    show.begin(release.size)
    _watch(stage, show, until, lines, received)
    seconds = time.time() - pushed_at
    stage.board.stop()
    log = stage.board.log[lines:]
    fail = _last_fail(stage)
    return Outcome(
        version_before=before,
        version_pushed=BROKEN,
        version_after=stage.ear.versions[-1],
        cloud_state=stage.device["state"],
        result_code=str(fail["result_code"]) if fail else None,
        result_msg=fail["result_msg"] if fail else None,
        md5=md5,
        md5_on_flash=_active(stage),
        starts=len([line for line in log if _STARTED.match(line)]),
        resets=stage.board.resets - resets,
        crashes=[found[1] for found in map(_DIED.match, log) if found],
        seconds=round(seconds, 1),
        states=stage.states(BROKEN, pushed_at),
    )


def _release(stage: Stage) -> Release:
    folder = stage.folder / "thermometer"
    shutil.copytree(update_scene.APPLICATION, folder)
    (folder / "settings.json").write_text(json.dumps(SETTINGS) + "\n")
    out = stage.folder / f"thermometer-{BROKEN}.bin"
    return pack(folder, BROKEN, out=out, signer=stage.signer(2))


def _watch(stage: Stage, show: Show, until: float, lines: int, received: int) -> None:
    """Show the trial until the cloud has its result and the board reports its version."""
    heard = len(stage.ear.versions)
    starts = 0

    def over(stage: Stage, device: dict[str, Any]) -> bool:
        state, back = device["state"], stage.ear.versions[heard:][-1:] == [GOOD]
        return state == "done" or (state in ("retry", "failed") and back)

    for log in scene.follow(stage, show, until, lines=lines, received=received, over=over):
        for line in log:
            died = _DIED.match(line)
            if _STARTED.match(line):
                starts += 1
                show.say(f"{BROKEN} starts on trial ({starts} of {STARTS})")
            elif died:
                show.say(f"its application crashes: {died[1]}", display.BAD)
            elif _BACK.match(line):
                show.say(f"{GOOD} starts again", display.GOOD)


def _last_fail(stage: Stage) -> dict[str, Any] | None:
    """Return the cloud's last report of the update if it is a failure."""
    reports = stage.progress(BROKEN)
    return reports[-1] if reports and reports[-1]["state"] == "fail" else None


def _active(stage: Stage) -> str | None:
    """Return the MD5 of the active firmware in the board's state file."""
    path = json.loads(stage.board.read("/ivota-state.json")).get("active")
    return stage.md5(path) if path else None
