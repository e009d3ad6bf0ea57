"""The first scene: an update that survives three link cuts and a power cut."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from ivota_tools.common.project_files import root
from ivota_tools.demo import scene
from ivota_tools.demo.display import BAD, GOOD, Show
from ivota_tools.demo.stage import NAME, PRODUCT, Stage
from ivota_tools.firmware.release import Release, pack
from ivota_tools.sim import Cut

TITLE = "0.2 over a bad link"
OLD, NEW = "0.1", "0.2"
APPLICATION = root() / "examples" / "thermometer"
FIRMWARE_BYTES = 708_482  # the size in the vendor's own example
LINK_BYTES_PER_S = 75_000  # slow enough to watch

# In bytes towards the board since the previous fault. The power cut is between the last two.
CUTS = [Cut(140_000, "fin"), Cut(150_000, "rst"), Cut(280_000, "silence")]
POWER_CUT_AT = 430_000
OFF_S = 1.0
_SIGNED = re.compile(r"ivota: signed sequence=(\d+)")

# Short limits, so that nobody has to wait long for the board to notice silence.
CONFIG = {"version": OLD, "http": {"timeout_s": 3, "deadline_s": 5}}


@dataclass(frozen=True, kw_only=True)
class Outcome(scene.Outcome):
    link_cuts: int
    power_cuts: int
    firmware_bytes: int
    received_bytes: int
    resumes: int
    signed: int | None  # the sequence in the signature that the board accepted

    @property
    def failures(self) -> list[str]:
        """Return the failed checks in sentences."""
        found = self.not_arrived(NEW)
        if self.signed is None:
            found.append("the board accepted no signature")
        if self.link_cuts != len(CUTS) or self.power_cuts != 1:
            found.append(
                f"{self.link_cuts} link cuts and {self.power_cuts} power cuts happened, "
                f"not {len(CUTS)} and 1"
            )
        return found

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Return the rows for display.print_table()."""
        more = self.received_bytes - self.firmware_bytes
        return [
            self.states_seen,
            ("firmware", f"{self.firmware_bytes:,} bytes"),
            (
                "received",
                f"{self.received_bytes:,} bytes, {100 * more / self.firmware_bytes:.1f} % more, "
                "including HTTP headers",
            ),
            ("cuts", f"{self.link_cuts} link cuts, {self.power_cuts} power cut"),
            ("resumes", str(self.resumes)),
            ("MD5 on flash", self.md5_judged),
            ("signature", f"sequence {self.signed}, signed with a trusted key"),
            ("runs now", f"{self.version_after} (previously {self.version_before})"),
        ]


def play(stage: Stage, show: Show) -> Outcome:
    """Play the scene and leave the board off. Ends after scene.MOST_S at the latest."""
    until = time.monotonic() + scene.MOST_S
    release = pack(
        APPLICATION,
        NEW,
        out=stage.folder / f"thermometer-{NEW}.bin",
        pad_to=FIRMWARE_BYTES,
        signer=stage.signer(1),
    )
    stage.api.upload(release.path)
    before = stage.power_on(until)
    show.say(f"the board {PRODUCT}/{NAME} is connected and runs {before}")
    stage.proxy.pace(LINK_BYTES_PER_S)
    stage.proxy.schedule(CUTS)
    pushed_at = time.time()
    stage.api.push(f"{PRODUCT}/{NAME}", NEW, new=True)
    show.say(f"pushed {release.application} {NEW}, {release.size:,} bytes")
    show.begin(release.size)
    _watch(stage, show, until)
    seconds = time.time() - pushed_at
    stage.board.stop()
    return _outcome(stage, release, before, pushed_at, seconds)


def _watch(stage: Stage, show: Show, until: float) -> None:
    """Show the update, and cut the power once."""
    proxy, board = stage.proxy, stage.board
    cuts = 0
    for _ in scene.follow(stage, show, until):
        if not board.power_cuts and proxy.received >= POWER_CUT_AT:
            board.power_cut()
            show.say(f"power cut (SIGKILL) after {proxy.received:,} bytes", BAD)
            time.sleep(OFF_S)
            board.power_on()
            show.say("power on", GOOD)
        for cut in proxy.cuts[cuts:]:
            cuts += 1
            show.say(f"link cut ({cut.kind.upper()}) after {cut.received:,} bytes", BAD)


def _outcome(
    stage: Stage, release: Release, before: str, pushed_at: float, seconds: float
) -> Outcome:
    return Outcome(
        version_before=before,
        version_after=stage.ear.versions[-1],
        cloud_state=stage.device["state"],
        md5=release.md5,
        md5_on_flash=stage.md5(f"/firmware/{NEW}.bin"),
        link_cuts=len(stage.proxy.cuts),
        power_cuts=stage.board.power_cuts,
        firmware_bytes=release.size,
        received_bytes=stage.proxy.received,
        # Every download after the first one resumed where the previous one had ended.
        resumes=len([each for each in stage.proxy.connections if each.received]) - 1,
        signed=next(
            (int(found[1]) for found in map(_SIGNED.match, stage.board.log) if found), None
        ),
        seconds=round(seconds, 1),
        states=stage.states(NEW, pushed_at),
    )
