"""The cases: how the link, the server and the power supply behave in each."""

from __future__ import annotations

from dataclasses import dataclass

from ivota_tools.sim import Cut

from ..download.wire import EVERY

SIZE = 708_482  # bytes, like the vendor's own example
SMALL = 65_536  # bytes, for the slowest link
LINK = 65_536  # bytes per second
SLOW = 1024  # bytes per second
ROOMY = "8m"  # a heap with room for several copies of the firmware, like a board with PSRAM
PLAIN = "112k"  # the heap of an ESP32 without PSRAM
TRIES = 12  # enough for a firmware that is cut every 64 KiB, if nothing is fetched twice


@dataclass(frozen=True)
class Case:
    """`cut` happens `cuts` times; None: always. `ranges`: the server supports them.

    `power_at`: when the power is cut, as a share of the firmware. `rate` in bytes per second, 0:
    unlimited. `limit_s`: a download that is still waiting after this time is stopped. `tries`: the
    number of failures after which a downloader without its own limit gives up; with 1, a failed
    allocation also ends the download.
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
