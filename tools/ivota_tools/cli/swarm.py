"""Define `ivota sim swarm`: many lightweight devices, and optionally simulated boards."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .terminal import fail, out, warn

if TYPE_CHECKING:
    from ..sim.swarm import Swarm
    from ..sim.swarm_micropython import Boards


PATIENCE_S = 5  # before warning that the broker does not answer


def swarm(
    count: Annotated[
        int, typer.Option("-n", "--count", min=0, max=50_000, help="Number of devices.")
    ] = 100,
    broker: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="MQTT broker.")
    ] = "127.0.0.1:1883",
    product: Annotated[str, typer.Option(help="product_id of all devices.")] = "SWARM",
    version: Annotated[str, typer.Option(help="Version that the devices run at first.")] = "0.1",
    failing: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of the devices (0 to 1) whose trials fail until SIGUSR1."
        ),
    ] = 0.0,
    slow: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the devices (0 to 1) that download slowly."),
    ] = 0.0,
    interval: Annotated[
        float,
        typer.Option(
            min=1,
            max=86400,
            help="Seconds between reports, unless the cloud sets another interval.",
        ),
    ] = 60.0,
    boards: Annotated[
        int,
        typer.Option(min=0, max=50, help="Also run this many boards as `ivota sim board` does."),
    ] = 0,
    seconds: Annotated[
        float | None, typer.Option(help="Stop automatically after this many seconds.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON object per second.")
    ] = False,
) -> None:
    """Run many lightweight devices until Ctrl-C; SIGUSR1 repairs failing devices.

    Their names are PRODUCT/d00000, PRODUCT/d00001 and so on.
    """
    from ..sim.board import BoardError
    from ..sim.swarm import Options, Swarm
    from ..sim.swarm_micropython import Boards
    from ..toolchain import ToolchainError

    host, colon, port = broker.rpartition(":")
    if not colon or not host or not port.isdigit():
        fail(f"--broker must be HOST:PORT, not {broker!r}")
    options = Options(
        count, host, int(port), product, version, failing=failing, slow=slow, interval_s=interval
    )
    try:
        with Boards(boards, options) as real:
            status = asyncio.run(_run(Swarm(options), real, seconds, as_json))
    except (BoardError, ToolchainError) as error:
        fail(str(error))
    if not as_json:
        out.print(_line(status), markup=False)


async def _run(
    made: Swarm, boards: Boards, seconds: float | None, as_json: bool
) -> dict[str, Any]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, made.mend)
    running = asyncio.ensure_future(made.run())
    end = None if seconds is None else loop.time() + seconds
    last, patience_s = "", PATIENCE_S
    while not (stop.is_set() or running.done()) and (end is None or loop.time() < end):
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stop.wait(), 1 if end is None else min(1, end - loop.time()))
        status = made.status() | boards.status()
        line = json.dumps(status) if as_json else _line(status)
        if line != last:
            print(line, flush=True)
        last = line
        patience_s -= 1
        if patience_s == 0 and status["devices"] and not status["connected"]:
            warn("no device is connected: check --broker, or start a broker with `ivota cloud`")
    status = made.status() | boards.status()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running  # raises the error that ended it
    return status


def _line(status: dict[str, Any]) -> str:
    versions = ", ".join(f"{count} run {version}" for version, count in status["versions"].items())
    boards = f", {status['boards']} boards are on" if "boards" in status else ""
    return (
        f"{status['connected']} of {status['devices']} connected, {status['updating']} updating, "
        f"{versions or 'no versions yet'}; {status['reports']} reports, "
        f"{status['acknowledged']} acknowledged{boards}"
    )
