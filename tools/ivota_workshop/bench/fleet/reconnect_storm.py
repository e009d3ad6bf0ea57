"""A broker restarts: how many devices of a swarm connect, and later report, in the same second?

The swarm waits and reports as boards do. It runs three times: with intervals that never vary, with
those of boards, and through HAProxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from rich.console import Console

from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.sim.swarm import SPREAD, Device, Options, Swarm

from ...load_balancer import balanced
from ..figures import Figure

HOST = "127.0.0.1"
DEVICES = 300
HAPROXY_PER_S = 50  # connections; deploy/haproxy.cfg allows more than there are devices here
INTERVAL_S = 20.0
FROM, TO = 0.5, 3.5  # the intervals after the restart in which reports are counted
PATIENCE_S = 60.0


def measure(folder: Path, console: Console) -> dict[str, Figure]:
    same = asyncio.run(_peaks(folder / "same", 0.0))
    console.print(f"without variation: {same[1]} of {DEVICES} report in the same second")
    varied = asyncio.run(_peaks(folder / "varied", SPREAD))
    console.print(f"with variation: {varied[1]}")
    through = asyncio.run(_peaks(folder / "haproxy", SPREAD, HAPROXY_PER_S))
    console.print(f"through HAProxy: {through[0]} connect in the same second")
    return {
        "storm_devices": Figure(DEVICES, "", "devices"),
        "storm_connects_per_s": Figure(max(same[0], varied[0]), "", "devices"),
        "storm_connects_per_s_haproxy": Figure(through[0], "", "devices"),
        "storm_reports_same_interval": Figure(same[1], "", "reports/s"),
        "storm_reports_varied_interval": Figure(varied[1], "", "reports/s"),
    }


def peak(times: Sequence[float]) -> int:
    """Return the largest number of these times, in seconds, within one second."""
    ordered = sorted(times)
    first = most = 0
    for last, at in enumerate(ordered):
        while at - ordered[first] >= 1:
            first += 1
        most = max(most, last - first + 1)
    return most


async def _peaks(
    folder: Path, spread: float, connects_per_s: int | None = None
) -> tuple[int, int]:
    """Return the peaks of the reports that follow a connection, and of later ones.

    With `connects_per_s`, the devices connect through HAProxy, which has this limit.
    """
    folder.mkdir()
    with contextlib.ExitStack() as ends:
        with Broker(folder, HOST, 0, print) as broker:
            port = door = broker.port
            if connects_per_s is not None:
                door, _ = ends.enter_context(
                    balanced(folder, [port], connects_per_s=connects_per_s)
                )
            swarm = Swarm(Options(DEVICES, port=door, interval_s=INTERVAL_S, spread=spread))
            times: list[float] = []
            for device in swarm.devices:
                setattr(device, "report_version", _noted(device, times))  # noqa: B010
            running = asyncio.ensure_future(swarm.run())
            await _connected(swarm, DEVICES)
            # Their reports are spread over an interval before the restart, as in a fleet that is
            # old.
            await asyncio.sleep(INTERVAL_S * FROM)
            await asyncio.to_thread(broker.stop)
        await _connected(swarm, 0)
        with Broker(folder, HOST, port, print):
            restarted = time.monotonic()
            await _connected(swarm, DEVICES)
            connected = time.monotonic()
            await asyncio.sleep(max(restarted + INTERVAL_S * TO - time.monotonic(), 0))
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
    later = max(restarted + INTERVAL_S * FROM, connected)
    return peak([at for at in times if restarted <= at < later]), peak(
        [at for at in times if at >= later]
    )


def _noted(device: Device, times: list[float]) -> Callable[[], Awaitable[None]]:
    report = device.report_version

    async def noted() -> None:
        times.append(time.monotonic())
        await report()

    return noted


async def _connected(swarm: Swarm, count: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while swarm.status()["connected"] != count:
        if time.monotonic() > end:
            raise RuntimeError(f"{count} devices should be connected: {swarm.status()}")
        await asyncio.sleep(0.05)
