"""Many devices with a connection each that send numbered reports, in one process.

Arguments: port, devices. It says "connected", and then for each number of reports that it reads
"acknowledged" once RabbitMQ has taken them all. A device repeats a report until it is taken.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys

from ivota_tools.sim.swarm_mqtt import KEEPALIVE_S, Link, LinkError

from .filled_database import PRODUCT

HOST = "127.0.0.1"
AT_ONCE = 32  # connections that are being made
AGAIN_S = 1.0


class Device:
    """It stays connected, and connects again whenever the link is lost."""

    def __init__(self, number: int) -> None:
        self._name = f"d-{number}"
        self._link: Link | None = None

    @property
    def is_connected(self) -> bool:
        return self._link is not None and self._link.is_open

    async def live(self, port: int, gate: asyncio.Semaphore) -> None:
        while True:
            link = Link(f"bench-{self._name}", lambda topic, payload: None)
            try:
                async with gate:
                    await link.open(HOST, port, f"$ota/update/{PRODUCT}/{self._name}")
                self._link = link
                while link.is_open:
                    await asyncio.wait([link.closed], timeout=KEEPALIVE_S / 2)
                    link.ping()
            except (OSError, asyncio.TimeoutError):
                pass
            finally:
                link.close()
            await asyncio.sleep(AGAIN_S * random.uniform(0.5, 1.5))

    async def send(self, numbers: range) -> None:
        for number in numbers:
            report = {"type": "report_version", "report": {"version": "0.3"}, "n": number}
            while True:
                try:
                    if self._link is None:
                        raise LinkError("not connected")
                    topic = f"$ota/report/{PRODUCT}/{self._name}"
                    await self._link.publish(topic, json.dumps(report).encode(), 1)
                    break
                except (OSError, asyncio.TimeoutError):
                    await asyncio.sleep(AGAIN_S)


async def main(port: int, count: int) -> None:
    devices = [Device(number) for number in range(1, count + 1)]
    gate = asyncio.Semaphore(AT_ONCE)
    lives = [asyncio.ensure_future(device.live(port, gate)) for device in devices]
    while not all(device.is_connected for device in devices):
        await asyncio.sleep(0.1)
    print("connected", flush=True)
    loop = asyncio.get_running_loop()
    first = 0
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        last = first + int(line)
        # Each device sends every count-th number, so their order is that of the device.
        await asyncio.gather(
            *(each.send(range(first + at, last, count)) for at, each in enumerate(devices))
        )
        first = last
        print("acknowledged", flush=True)
    for life in lives:
        life.cancel()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:3])))
