"""`make bench-channel`: bytes, heap and attacks; write build/bench/ and docs/."""

from __future__ import annotations

import itertools
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.sim import Board, Cut

from ..download.heap import LANES, Lanes, smallest
from ..download.lane import SIZE, VERSION
from ..download.wire import BUFFER, EVERY, RATE, SEGMENT, WINDOW
from ..figures import SCALE, Figure, report
from ..reach.file_servers import issue_chain
from ..steps import steps
from . import attacks, scale
from .lane import ChannelLane, lane, publish

AREA = "channel"
COMMAND = "make bench-channel"
PATIENCE_S = 180.0
LOOKS = 3  # of an idle board; the first one finds the whole index
HEAP = 48 * 1024  # bytes, of an idle board: so small that garbage is collected promptly
HEAP_TLS = 256 * 1024

# In place of main.py: prints the heap in use whenever the board waits and has nothing to fetch.
_IDLE_MAIN = b"""
import gc
from ivota import agent, guarded_socket

def wait(stream, ms, own=guarded_socket.wait):
    if agent.client and agent.client.link.etag and not agent.client.queue:
        gc.collect()
        print("idle: %d" % gc.mem_alloc())
    own(stream, ms)

guarded_socket.wait = wait
agent.run()
"""


@contextmanager
def lanes(number: int = LANES, tls: bool = False) -> Iterator[tuple[list[ChannelLane], Path]]:
    """Provide lanes of one channel, and the file of its public key."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ivota-bench-")))
        root.chmod(0o755)
        public = publish(root)
        certificate = ""
        if tls:
            issue_chain(root)
            (root / "chain.key").write_bytes((root / "leaf.key").read_bytes())
            certificate = str(root / "chain")
        made = [
            stack.enter_context(lane(root / f"lane{n}", root / "site", BUFFER, certificate))
            for n in range(number)
        ]
        yield made, public


def wire() -> dict[str, Figure]:
    """Measure the bytes of a whole update if the link is cut after every 64 KiB."""
    with lanes(1) as ((link,), public):
        link.proxy.segment(SEGMENT)
        link.proxy.pace(RATE)
        outcome = link.update(
            itertools.repeat(Cut(EVERY)),
            files={
                "/owner.pub": public,
                "/boot.py": WINDOW.encode() + (CHECKOUT / "boot.py").read_bytes(),
            },
            config={"http": {"deadline_s": 2}, "retry": {"first_s": 0.1}},
        )
    if outcome.wrong:
        raise RuntimeError("\n".join([outcome.wrong, *outcome.log]))
    if outcome.cuts < SIZE // EVERY:
        raise RuntimeError(f"the link was cut {outcome.cuts} times")
    ratio = round(outcome.received / SIZE, 4)
    return {"channel_update_wire_ratio": Figure(ratio, "<= 1.01", "bytes/byte")}


def idle(tls: bool) -> tuple[list[int], int]:
    """Run a board that has the newest version.

    Returns the bytes of its first look and of a later one, and its heap in use between them.
    """
    with lanes(1, tls) as ((link,), public):
        files: dict[str, bytes | Path] = {"/owner.pub": public, "/main.py": _IDLE_MAIN}
        if tls:
            files["/root.pem"] = public.parent / "root.pem"
        config = {"product_id": "P", "device_name": "idle", "version": VERSION, **link.source()}
        board = Board(
            public.parent / "idle",
            heap=str(HEAP_TLS if tls else HEAP),
            mpy=True,
            fs="host",
            files=files,
            config=config,
        )
        board.install()
        with board:
            board.power_on()
            _wait_looks(link, board)
            looks = [each.received + each.sent for each in link.proxy.connections[:LOOKS]]
        used = [int(found[1]) for line in board.log if (found := re.match(r"idle: (\d+)", line))]
    if not used or not 0 < looks[-1] < looks[0]:
        raise RuntimeError("\n".join([f"looks of {looks} bytes", *board.log]))
    return [looks[0], looks[-1]], min(used)


def _wait_looks(link: ChannelLane, board: Board) -> None:
    """Wait until all checks of the channel are over."""
    until = time.monotonic() + PATIENCE_S
    while len(link.proxy.connections) <= LOOKS:
        if time.monotonic() > until or not board.on:
            raise RuntimeError("\n".join(["the board does not look again", *board.log]))
        time.sleep(0.1)


def looks() -> dict[str, Figure]:
    plain, used = idle(tls=False)
    secure, _ = idle(tls=True)
    return {
        "channel_poll_bytes_unchanged": Figure(plain[1], "<= 400", "bytes"),
        "channel_poll_bytes_changed": Figure(plain[0], "", "bytes"),
        "channel_poll_bytes_unchanged_tls": Figure(secure[1], "", "bytes"),
        "channel_heap_bytes_idle_32bit": Figure(used, "<= 14336", "bytes"),
    }


def heap() -> dict[str, Figure]:
    """Find the smallest heap in which a whole update from a channel succeeds."""
    with lanes() as (made, public):
        least = smallest(Lanes(list(made), SIZE, {"/owner.pub": public}).succeed, 8192, 131_072)
    return {"channel_heap_bytes_min_32bit": Figure(least, "<= 36864", "bytes")}


def refused(console: Console) -> dict[str, Figure]:
    with tempfile.TemporaryDirectory(prefix="ivota-bench-") as name:
        wrong = attacks.try_all(Path(name))
    for line in wrong:
        console.print(line, markup=False)
    tried = len(attacks.ATTACKS)
    return {
        "attacks": Figure(tried, "", "attacks"),
        "attacks_refused": Figure(tried - len(wrong), f"== {tried}", "attacks"),
    }


def main() -> None:
    console = Console()
    with steps(console, 4) as step:
        step("bytes of an update")
        figures = wire()
        step("an idle board")
        figures |= looks()
        step("heap")
        figures |= heap()
        step("attacks")
        figures |= refused(console)
    code = report(AREA, COMMAND, figures, console, page=SCALE)
    scale.write(figures)
    sys.exit(code)


if __name__ == "__main__":
    main()
