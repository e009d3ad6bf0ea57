"""`ivota sim swarm`: the swarm on the command line, with real simulated boards among it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

out = Console(highlight=False)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def swarm(
    count: Annotated[int, typer.Option("-n", "--count", min=0, max=50_000)] = 100,
    broker: Annotated[str, typer.Option(metavar="HOST:PORT")] = "127.0.0.1:1883",
    product: Annotated[str, typer.Option(help="product_id of all.")] = "SWARM",
    version: Annotated[str, typer.Option(help="What they run at first.")] = "0.1",
    failing: Annotated[
        float, typer.Option(min=0, max=1, help="Share that fails its trial, until SIGUSR1.")
    ] = 0.0,
    slow: Annotated[float, typer.Option(min=0, max=1, help="Share that downloads slowly.")] = 0.0,
    interval: Annotated[
        float, typer.Option(min=1, max=100, help="Seconds between reports.")
    ] = 60.0,
    boards: Annotated[
        int, typer.Option(min=0, max=50, help="Real simulated boards among them.")
    ] = 0,
    seconds: Annotated[float | None, typer.Option(help="End by itself after so long.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object per second.")] = False,
) -> None:
    """Run many lightweight devices until Ctrl-C; SIGUSR1 mends those that fail."""
    from .swarm import Options, Swarm

    host, colon, port = broker.rpartition(":")
    if not colon or not host or not port.isdigit():
        err.print(f"ivota: --broker is HOST:PORT, not {broker!r}", markup=False)
        raise typer.Exit(1)
    options = Options(
        count, host, int(port), product, version, failing=failing, slow=slow, interval_s=interval
    )
    made = Swarm(options)
    with _boards(boards, options) as console:
        status = asyncio.run(_run(made, seconds, as_json, console))
    if not as_json:
        out.print(_line(status), markup=False)


async def _run(made: Any, seconds: float | None, as_json: bool, console: Any) -> dict[str, Any]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, made.mend)
    running = asyncio.ensure_future(made.run())
    end = None if seconds is None else loop.time() + seconds
    last = ""
    while not stop.is_set() and (end is None or loop.time() < end):
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stop.wait(), 1 if end is None else min(1, end - loop.time()))
        status = made.status() | console()
        line = json.dumps(status) if as_json else _line(status)
        if line != last:
            print(line, flush=True)
        last = line
    status = made.status() | console()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return status  # type: ignore[no-any-return]


@contextlib.contextmanager
def _boards(count: int, options: Any) -> Any:
    """Real boards, each a MicroPython of its own; gives a function that says how many are on."""
    from .board import Board

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ivota-swarm-")))
        made = []
        for number in range(count):
            config = {
                "product_id": options.product,
                "device_name": f"board{number}",
                "version": options.version,
                "mqtt": {"host": options.host, "port": options.port},
            }
            board = Board(folder / f"board{number}", config=config)
            board.install()
            stack.enter_context(board)
            board.power_on()
            made.append(board)
        yield lambda: {"boards": sum(1 for board in made if board.on)} if made else {}


def _line(status: dict[str, Any]) -> str:
    versions = ", ".join(f"{count} run {version}" for version, count in status["versions"].items())
    return (
        f"{status['connected']} of {status['devices']} connected, {status['updating']} updating, "
        f"{versions or 'none run'}; {status['reports']} reports"
    )
