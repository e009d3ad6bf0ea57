"""Find the smallest heap in which a whole update succeeds.

`python -m ivota_workshop.bench.download.heap` finds the smallest heap; `--at BYTES` tries one size
and prints the board's output, `--scan` tries many, `--all` loads every module first.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Any

from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.sim import Cut

from ..figures import Figure
from . import idle, rom
from .lane import SIZE, Lane, Outcome, lane, make_application, make_firmware

STEP = 256  # bytes, the resolution of the search
CONFIRMATIONS = 3  # because garbage collection differs from run to run
MARGIN = 8192  # bytes above the smallest heap in which failing sizes are searched for
LANES = 4  # parallel updates: most of each is waiting
# Bytes that the board allocates before all else. They move everything behind them, so the gaps
# between objects that stay differ, and with them the smallest heap.
DISPLACEMENTS = (0, 160, 320, 480)

# Modules that do not run on this port: each needs a board's network interface.
NOT_HERE = ("network_base", "lan", "custom_network", "ppp", "wifi")

# Like a chip with one slot: the code for slots is loaded, and finds none.
_ESP32 = b"""
class Partition:
    RUNNING = 1

    def __init__(self, *_args):
        pass

    def get_next_update(self):
        raise OSError(2)

    def readblocks(self, *_args):
        raise OSError(5)
"""


class Lanes:
    """Several lanes for one firmware, to try several heaps in parallel.

    `files` and `config` are additional files and configuration for each board.
    """

    def __init__(
        self,
        lanes: list[Lane],
        size: int,
        files: Mapping[str, bytes | Path],
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self._free: Queue[Lane] = Queue()
        for each in lanes:
            self._free.put(each)
        self._cut = Cut(size // 2 + 1000)  # in the middle of a block
        self._files, self._config = files, config
        self._pool = ThreadPoolExecutor(len(lanes))

    @classmethod
    @contextmanager
    def open(cls, size: int, everything: bool = False, number: int = LANES) -> Iterator[Lanes]:
        """Open the lanes; with `everything`, the board loads every module before it starts."""
        with ExitStack() as stack:
            root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ivota-bench-")))
            firmware = make_firmware(root, size)
            folders = [root / f"lane{n}" for n in range(number)]
            lanes = [stack.enter_context(lane(folder, firmware)) for folder in folders]
            yield cls(lanes, size, loading_all() if everything else {})

    def update(self, heap: int | None, files: Mapping[str, bytes | Path] | None = None) -> Outcome:
        """Run a whole update over a link that is cut once. Raises RuntimeError if the link was not
        cut.
        """
        each = self._free.get()
        try:
            files = {**self._files, **(files or {})}
            outcome = each.update([self._cut], heap=heap, files=files, config=self._config)
        finally:
            self._free.put(each)
        if not outcome.wrong and outcome.cuts != 1:
            raise RuntimeError("the link was not cut")
        return outcome

    def to_the_end(self, heap: int, patience_s: float) -> Outcome:
        """Like `update`, but only `done` or the time limit ends it, whatever the board reports."""
        each = self._free.get()
        try:
            return each.update(
                [self._cut],
                heap=heap,
                files=self._files,
                config=self._config,
                patience_s=patience_s,
            )
        finally:
            self._free.put(each)

    def succeed(self, heaps: list[int], displacement: int = 0) -> list[bool]:
        """Return which of these heaps are large enough, in addition to the displacement."""
        boot = self._files.get("/boot.py", CHECKOUT / "boot.py")
        source = boot.read_bytes() if isinstance(boot, Path) else boot
        files = {"/boot.py": b"_ = bytearray(%d)\n" % displacement + source}
        sizes = [heap + displacement for heap in heaps]
        outcomes = self._pool.map(partial(self.update, files=files), sizes)
        return [not outcome.wrong for outcome in outcomes]


def loading_all() -> dict[str, bytes | Path]:
    """Return a main.py that imports and holds every module before it starts the real one."""
    lines = "".join(f"import {name}\n" for name in modules())
    main = lines.encode() + (CHECKOUT / "main.py").read_bytes()
    return {"/main.py": main, "/lib/esp32.py": _ESP32}


def modules() -> list[str]:
    """Return every module that a board may load, on this port."""
    package = [path.stem for path in (CHECKOUT / "lib" / "ivota").glob("*.py")]
    ours = [f"ivota.{name}" for name in sorted(package) if name not in (*NOT_HERE, "__init__")]
    return ["bundlefs", "tls", *ours]


def smallest(
    succeed: Callable[[list[int]], list[bool]], low: int, high: int, ways: int = LANES
) -> int:
    """Find a multiple of STEP in (low, high] that succeeds repeatedly, with none below it.

    Because of fragmentation a size may fail although a smaller one succeeds. Bisection finds one
    that succeeds; from there, all sizes are tried downwards until none within MARGIN bytes
    succeeds. Tries `ways` sizes in parallel. Raises RuntimeError if none succeeds up to `high`.
    """
    found = _halve(succeed, low, high, ways)
    while True:
        below = list(range(max(low, found - MARGIN), found, STEP))
        good = [size for size, ok in zip(below, succeed(below), strict=True) if ok]
        least = next((size for size in good if _sure(succeed, size)), None)
        if least is None:
            return found
        found = least


def _halve(succeed: Callable[[list[int]], list[bool]], low: int, high: int, ways: int) -> int:
    """Like `smallest`, assuming that every size above a successful one succeeds."""
    low, high = low // STEP, high // STEP + 1  # high: known to succeed, or never tried
    most = high
    while high - low > 1:
        count = min(ways, high - low - 1)
        tried = [low + (high - low) * n // (count + 1) for n in range(1, count + 1)]
        for size, good in zip(tried, succeed([size * STEP for size in tried]), strict=True):
            if good:
                high = size
                break
            low = size
    while high < most:
        if _sure(succeed, high * STEP):
            return high * STEP
        high += 1
    raise RuntimeError(f"no heap up to {(most - 1) * STEP} bytes is enough")


def _sure(succeed: Callable[[list[int]], list[bool]], size: int) -> bool:
    return all(succeed([size] * CONFIRMATIONS))


def find(size: int = SIZE, everything: bool = False) -> int:
    """Find the smallest heap for an update of that many bytes."""
    with Lanes.open(size, everything) as lanes:
        return smallest(lanes.succeed, 8192, 196_608)


def median(lanes: Lanes) -> tuple[int, int]:
    """Find the smallest heap without a displacement, and the median over all of them."""
    first = smallest(lanes.succeed, 8192, 196_608)
    found = [first]
    for displacement in DISPLACEMENTS[1:]:
        succeed = partial(lanes.succeed, displacement=displacement)
        found.append(smallest(succeed, first - MARGIN // 2, first + MARGIN))
    return first, round(statistics.median(found))


def scan(low: int, high: int, everything: bool = False) -> dict[int, bool]:
    """Return which sizes from `low` to `high` are enough; with fragmentation a larger may fail."""
    heaps = list(range(low, high + 1, STEP))
    with Lanes.open(SIZE, everything) as lanes:
        return dict(zip(heaps, lanes.succeed(heaps), strict=True))


def figures() -> dict[str, Figure]:
    with Lanes.open(SIZE) as lanes:
        least, usual = median(lanes)
    failed = [heap for heap, good in scan(least, least + MARGIN).items() if not good]
    return {
        "heap_bytes_min_32bit": Figure(usual, "<= 40960", "bytes"),
        "heap_bytes_sure_32bit": Figure(max(failed, default=least - STEP) + STEP, "", "bytes"),
        "heap_bytes_min_32bit_double": Figure(find(2 * SIZE), f"<= {least + STEP}", "bytes"),
        "heap_bytes_min_32bit_rom": Figure(_in_rom(frozen=False), "<= 28672", "bytes"),
        "heap_bytes_min_32bit_frozen": Figure(_in_rom(frozen=True), "", "bytes"),
        "heap_bytes_idle_32bit": Figure(idle.measure(), "<= 23552", "bytes"),
        "heap_bytes_all_32bit": Figure(find(everything=True), "<= 40960", "bytes"),
    }


def _in_rom(frozen: bool) -> int:
    """Find the median for a board with the package in ROMFS, or in its firmware."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ivota-bench-")))
        firmware = make_application(root, SIZE)
        made = [stack.enter_context(lane(root / f"lane{n}", firmware)) for n in range(LANES)]
        return median(Lanes(made, SIZE, rom.files(frozen)))[1]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ivota_workshop.bench.download.heap")
    parser.add_argument("--at", type=int, help="try this heap only, and print the board's log")
    parser.add_argument("--all", action="store_true", help="with every module loaded")
    parser.add_argument("--size", type=int, default=SIZE, help="of the firmware, in bytes")
    parser.add_argument("--scan", type=int, nargs=2, help="try each heap from one to the other")
    given = parser.parse_args()
    if given.scan:
        for heap, good in scan(given.scan[0], given.scan[1], given.all).items():
            print(f"{heap} {'done' if good else 'fails'}")
    elif given.at:
        with Lanes.open(given.size, given.all, number=1) as lanes:
            outcome = lanes.update(given.at)
        print("\n".join(outcome.log))
        print(f"{given.at}: {outcome.wrong or 'done'}")
    else:
        print(find(given.size, given.all))


if __name__ == "__main__":
    main()
