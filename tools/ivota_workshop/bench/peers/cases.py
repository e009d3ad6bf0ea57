"""The cases, each as a link, a server and a power supply behave in it."""

from __future__ import annotations

from dataclasses import dataclass

from ivota_tools.sim import Cut

from ..download.wire import EVERY

SIZE = 708_482  # bytes, as in the vendor's own example
SMALL = 65_536  # bytes, for the slowest link
LINK = 65_536  # bytes per second
SLOW = 1024  # bytes per second
ROOMY = "8m"  # a heap in which a firmware fits several times, as a board with PSRAM has it
PLAIN = "112k"  # what an ESP32 without PSRAM has
TRIES = 12  # what a firmware takes that is cut every 64 KiB, if nothing is fetched twice


@dataclass(frozen=True)
class Case:
    """`cut` happens `cuts` times, None: again and again. `ranges`: the server knows them.

    `power_at`: where the power goes, as a share of the firmware. `rate` in bytes per second, 0:
    as fast as it goes. `limit_s`: after so many seconds what still waits is switched off.
    `tries`: after so many failures one that has no limit of its own gives up; where it is 1, an
    allocation that fails is the end for each.
    """

    name: str
    title: str
    size: int = SIZE
    cut: Cut | None = None
    cuts: int | None = None
    rate: int = LINK
    ranges: bool = True
    power_at: float | None = None
    heap: str = ROOMY
    limit_s: float = 90.0
    tries: int = TRIES


CASES = (
    Case("good", "a good link"),
    Case("plain", "a good link, heap 112 KiB", heap=PLAIN),
    Case("end_64k", "ended every 64 KiB", cut=Cut(EVERY, "fin")),
    Case("reset_64k", "reset every 64 KiB", cut=Cut(EVERY, "rst")),
    Case("silence", "silence at half, once", cut=Cut(SIZE // 2, "silence"), cuts=1, limit_s=120),
    Case("slow", "1 KiB/s, 64 KiB in all", size=SMALL, rate=SLOW),
    Case(
        "whole_answer",
        "reset at half, 200 for a Range",
        cut=Cut(SIZE // 2, "rst"),
        cuts=1,
        ranges=False,
    ),
    Case("power", "power cut at half", power_at=0.5),
)
BY_NAME = {case.name: case for case in CASES}
