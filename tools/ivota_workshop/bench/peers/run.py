"""Run one downloader in one case, with its own board, server and link, and record the result."""

from __future__ import annotations

import contextlib
import itertools
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from littlefs import LittleFSError

from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.sim import Board, Proxy
from ivota_tools.sim.filesystem import BLOCK, FlashError, read

from ..download.stage import Cloud, update_firmware
from ..download.wire import BUFFER, SEGMENT
from ..traps.server import Peer, Server
from .cases import Case
from .ways import OLD, OURS, Way, board_options, firmware

DONE, GIVES_UP, WAITS = "done", "gives up", "waits"
OFF_S = 0.5  # between a power cut and the next start
SAMPLE_S = 0.1
_HEAD = 1024  # bytes, larger than any response head or version
_ENDS = "^peer: gives up"
_ENDS_AT_ONCE = f"{_ENDS}|MemoryError|memory allocation"
_ERROR = re.compile(r"^(\w*(?:Error|Exception)\b.*)|^Something went wrong: (.*)")

_numbers = itertools.count()


@dataclass
class Run:
    """The result of a run.

    `says`: the result according to the downloader. `length` of the file that is installed, None if
    there is none; `right`: how many of its first bytes are the firmware's; `old`: it is still the
    previous file. `received` over the link, including headers and the broker's traffic; `tries`:
    how often the firmware or a part of it was sent; `erases` of the flash. `line`: correct bytes
    of the firmware on flash, by seconds; `cuts`: seconds.
    """

    way: str
    case: str
    size: int
    says: str = WAITS
    length: int | None = None
    right: int = 0
    old: bool = False
    received: int = 0
    tries: int = 0
    seconds: float = 0.0
    erases: int = 0
    error: str = ""
    line: list[tuple[float, int]] = field(default_factory=list)
    cuts: list[float] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return self.says == DONE and self.length == self.right == self.size


class Files:
    """A server of one firmware; `ranges`: it supports them. The version is at /P/version."""

    def __init__(self, data: bytes, ranges: bool = True) -> None:
        self._data, self._ranges = data, ranges
        self._server = Server(self._serve, self._serve, 0)

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.__exit__(*exc)

    @property
    def port(self) -> int:
        return self._server.port

    def _serve(self, peer: Peer) -> None:
        path, first = peer.request()
        data = b"0.2\n" if path.endswith("/version") else self._data
        if first and self._ranges:
            peer.partial(first, len(data))
            peer.send(data[first:])
        else:
            peer.head("HTTP/1.1 200 OK", f"Content-Length: {len(data)}", "Connection: close", "")
            peer.send(data)


@contextlib.contextmanager
def broker() -> Iterator[Broker]:
    with (
        tempfile.TemporaryDirectory(prefix="ivota-bench-") as folder,
        Broker(Path(folder), "127.0.0.1", 0, print) as found,
    ):
        yield found


def run(way: Way, case: Case, broker_port: int, heap: str | None = None) -> Run:
    """Run the case; `heap` replaces the case's."""
    found = Run(way.name, case.name, case.size)
    data = firmware(case.size)
    with (
        tempfile.TemporaryDirectory(prefix="ivota-bench-") as folder,
        Files(data, case.ranges) as files,
        Proxy("127.0.0.1", files.port, buffer=BUFFER if case.rate else None) as link,
        Proxy("127.0.0.1", broker_port) as talk,
    ):
        if case.rate:
            link.segment(SEGMENT)
            link.pace(case.rate)
        if case.cut:
            times = (case.cuts,) if case.cuts else ()
            link.schedule(itertools.repeat(case.cut, *times))
        name = f"p{next(_numbers):05}"
        options = board_options(way, link.port, talk.port, case.tries, window=bool(case.rate))
        if way is OURS:
            options["config"]["device_name"] = name
        board = Board(Path(folder) / name, heap=heap or case.heap, **options)
        board.install()
        with contextlib.ExitStack() as stack:
            if way is OURS:
                cloud = stack.enter_context(Cloud(broker_port, name))
                url = f"http://127.0.0.1:{link.port}/firmware"
                cloud.want(update_firmware("0.2", url, data))
            stack.enter_context(board)
            begun = time.monotonic()
            board.power_on()
            _watch(way, case, board, link, data, begun, found)
        found.seconds = round(time.monotonic() - begun, 1)
        board.stop()
        _look(way, board, data, found)
        if case.rate:
            found.line.append((found.seconds, safe(board, way, data)))
        found.received = link.received + talk.received
        found.erases = board.flash_counts()["erases"]
        found.tries = sum(each.received > _HEAD for each in link.connections)
        found.cuts = [round(cut.time - begun, 3) for cut in link.cuts]
        found.error = last_error(board.log)
    return found


def _watch(
    way: Way, case: Case, board: Board, link: Proxy, data: bytes, begun: float, found: Run
) -> None:
    """Wait until the downloader reports success or gives up, or until the time limit."""
    stopped = threading.Event()
    sampler = threading.Thread(target=_sample, args=(way, board, data, begun, found.line, stopped))
    if case.rate:
        sampler.start()
    half = case.power_at
    power_at = int(half * len(data)) if half else None
    try:
        while time.monotonic() - begun < case.limit_s:
            log = list(board.log)
            if any(re.search(way.done, line) for line in log):
                found.says = DONE
                return
            # A board that has returned to the REPL does nothing more, whatever it has printed.
            ends = _ENDS if case.tries > 1 else _ENDS_AT_ONCE
            if any(re.search(ends, line) for line in log) or "REPL" in log:
                found.says = GIVES_UP
                return
            if power_at and link.received >= power_at:
                power_at = None
                board.power_cut()
                time.sleep(OFF_S)
                board.power_on()
            time.sleep(0.02)
    finally:
        stopped.set()
        if case.rate:
            sampler.join()


def _sample(
    way: Way,
    board: Board,
    data: bytes,
    begun: float,
    line: list[tuple[float, int]],
    stopped: threading.Event,
) -> None:
    while not stopped.wait(SAMPLE_S):
        at = time.monotonic() - begun
        # A running board's image may change while it is read: skip that sample.
        with contextlib.suppress(LittleFSError):
            line.append((round(at, 2), safe(board, way, data)))


def safe(board: Board, way: Way, data: bytes) -> int:
    """Return how many bytes of the firmware would survive a power cut at this moment."""
    assert board.flash
    image = board.flash.path.read_bytes()
    return max(prefix(_safe(image, place), data) for place in way.places)


def _safe(image: bytes, path: str) -> bytes:
    try:
        return read(image, len(image) // BLOCK, path)
    except (FlashError, FileNotFoundError):
        return b""


def prefix(found: bytes, data: bytes) -> int:
    """Return how many bytes match the firmware, from the first."""
    size = min(len(found), len(data))
    if found[:size] == data[:size]:
        return size
    return next(n for n in range(size) if found[n] != data[n])


def _look(way: Way, board: Board, data: bytes, found: Run) -> None:
    """Record the installed file after the run."""
    assert board.flash
    try:
        kept: bytes | None = board.flash.read(way.installed)
    except FileNotFoundError:
        kept = None
    found.length = None if kept is None else len(kept)
    found.right = prefix(kept or b"", data)
    found.old = kept == OLD


def last_error(log: list[str]) -> str:
    """Return the last error that the board printed, or "" if there was none."""
    for line in reversed(log):
        match = _ERROR.search(line)
        if match:
            return match[1] or match[2]
    return ""
