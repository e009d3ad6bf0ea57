"""Play the third scene: the cloud delivers a fixed version as a delta."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import Any

from ivota_tools.demo import scene, update_scene
from ivota_tools.demo.display import Show
from ivota_tools.demo.stage import NAME, PRODUCT, Stage
from ivota_tools.firmware.release import Release, ReleaseError, make_patch, pack, patch_out

TITLE = "0.4, as a delta"
OLD, NEW = update_scene.NEW, "0.4"

# The change in this release: one more line in the application.
_CHANGE = "\n\nRELEASE = 'a reading in every minute, at last'\n"


@dataclass(frozen=True, kw_only=True)
class Outcome(scene.Outcome):
    """`md5` is that of the full firmware, which the board builds from the delta."""

    firmware_bytes: int
    delta_bytes: int
    received_bytes: int
    made: bool  # whether the board reported that it built the firmware from the delta

    @property
    def saved_bytes(self) -> int:
        return self.firmware_bytes - self.received_bytes

    @property
    def failures(self) -> list[str]:
        """Return the failed checks in sentences."""
        found = self.not_arrived(NEW)
        if not self.made:
            found.append(f"the board did not build {NEW} from a delta")
        if self.received_bytes * 10 > self.firmware_bytes:
            found.append(f"{self.received_bytes:,} bytes were received; a tenth should be enough")
        return found

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Return the rows for display.print_table()."""
        return [
            self.states_seen,
            ("firmware", f"{self.firmware_bytes:,} bytes; the delta has {self.delta_bytes:,}"),
            ("received", f"{self.received_bytes:,} bytes, including HTTP headers"),
            (
                "saved",
                f"{self.saved_bytes:,} bytes, "
                f"{100 * self.saved_bytes / self.firmware_bytes:.1f} % of the download",
            ),
            ("MD5 on flash", self.md5_judged),
            ("runs now", f"{self.version_after} (previously {self.version_before})"),
        ]

    def json(self) -> dict[str, Any]:
        return {"name": "delta", **super().json(), "saved_bytes": self.saved_bytes}


def play(stage: Stage, show: Show) -> Outcome:
    """Play the scene on a board that runs OLD and is off; leave it off.

    Ends after scene.MOST_S at the latest.
    """
    until = time.monotonic() + scene.MOST_S
    release, delta = _releases(stage)
    stage.api.upload(release.path)
    stage.api.upload(delta.path)
    before = stage.power_on(until)
    show.say(f"power on: the board runs {before}")
    lines = len(stage.board.log)
    pushed_at = time.time()
    received = stage.proxy.received
    stage.api.push(f"{PRODUCT}/{NAME}", NEW)
    show.say(
        f"pushed {release.application} {NEW}, {release.size:,} bytes; "
        f"the cloud sends the delta from {OLD}, {delta.size:,} bytes"
    )
    show.begin(delta.size)
    for log in scene.follow(stage, show, until, lines=lines, received=received):
        for line in log:
            if line.startswith("ivota: expand "):
                show.say(f"the board builds {NEW} from {OLD} and the delta")
            elif line.startswith("ivota: expanded "):
                show.say(f"{NEW} is on flash: SHA-256 verified")
    seconds = time.time() - pushed_at
    stage.board.stop()
    return Outcome(
        version_before=before,
        version_after=stage.ear.versions[-1],
        cloud_state=stage.device["state"],
        md5=release.md5,
        md5_on_flash=stage.md5(f"/firmware/{NEW}.new"),
        firmware_bytes=release.size,
        delta_bytes=delta.size,
        received_bytes=stage.proxy.received - received,
        made=any(line.startswith("ivota: expanded ") for line in stage.board.log[lines:]),
        seconds=round(seconds, 1),
        states=stage.states(NEW, pushed_at),
    )


def _releases(stage: Stage) -> tuple[Release, Release]:
    """Build the full firmware, and the delta from the running version."""
    folder = stage.folder / f"thermometer-{NEW}"
    shutil.copytree(update_scene.APPLICATION, folder)
    app = folder / "app.py"
    app.write_text(app.read_text() + _CHANGE)
    signer = stage.signer(3)
    release = pack(
        folder,
        NEW,
        out=stage.folder / f"thermometer-{NEW}.bin",
        application=update_scene.APPLICATION.name,
        pad_to=update_scene.FIRMWARE_BYTES,
        signer=signer,
    )
    delta = make_patch(
        release,
        stage.folder / f"thermometer-{OLD}.bin",
        out=patch_out(release.path, OLD),
        signer=signer,
    )
    if delta is None:
        raise ReleaseError("the delta is no smaller than the firmware")
    return release, delta
