"""Send signal 9 fifty times to the process that receives reports: no loss, no extra push?"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import signal
import threading
import time
from pathlib import Path

from rich.console import Console

from ivota_tools.api_client import ApiError
from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.sim.swarm import Options
from ivota_tools.sim.swarm_mqtt import Link

from ..figures import Figure
from .stage import CloudProcess, SwarmThread, upload, wait_for

KILLS = 50
DEVICES = 100
TALKERS = 10


class Talkers:
    """Devices that number their reports; `sent` holds those that the broker has acknowledged."""

    def __init__(self, port: int) -> None:
        self.sent: dict[str, int] = {}
        self._port = port
        self._stop = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> Talkers:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop = True
        self._thread.join()

    async def _run(self) -> None:
        await asyncio.gather(*(self._talk(f"t{number}") for number in range(TALKERS)))

    async def _talk(self, name: str) -> None:
        link = Link(f"talker-{name}", lambda *_: None)
        await link.open("127.0.0.1", self._port, f"$ota/update/T/{name}")
        for number in itertools.count():
            if self._stop:
                break
            report = {"type": "report_version", "report": {"version": f"n{number}"}}
            await link.publish(f"$ota/report/T/{name}", json.dumps(report).encode(), 1)
            self.sent[name] = number
            await asyncio.sleep(0.01)
        link.close()


def measure(folder: Path, console: Console, kills: int = KILLS) -> dict[str, Figure]:
    folder.mkdir()
    draw = random.Random(4)
    with Broker(folder / "broker", "127.0.0.1", 0, console.print) as broker:
        words = folder / "data", "--broker", f"127.0.0.1:{broker.port}"
        cloud = CloudProcess(*words)
        # After each kill the port differs, and so do the URL and the fate of a download.
        versions = [f"0.{number}" for number in range(2, 2 + kills)]
        for version in versions:
            upload(cloud.api, folder, version, draw.randbytes(60_000))
        options = Options(DEVICES, port=broker.port, interval_s=2)
        with SwarmThread(options) as swarm, Talkers(broker.port) as talkers:
            wait_for(lambda: len(cloud.api.devices()) >= DEVICES, "the swarm", 60)
            for number, version in enumerate(versions):
                cloud.api.create_campaign(
                    name=version, version=version, query="product:SWARM",
                    stages=[{"percent": 100}],
                )  # fmt: skip
                time.sleep(draw.uniform(0.05, 1.5))
                cloud.end(signal.SIGKILL)
                cloud = CloudProcess(*words)
                if number % 10 == 9:
                    console.print(f"{number + 1} kills: {swarm.status()['versions']}")
            wait_for(lambda: swarm.status()["versions"] == {versions[-1]: DEVICES}, "the end", 240)
            time.sleep(3)
            talkers.stop()
            with contextlib.suppress(RuntimeError):  # a missing report counts as lost
                wait_for(lambda: _all_there(cloud, talkers), "the last reports", 240, 2)
            lost = _lost(cloud, talkers)
            said = sum(last + 1 for last in talkers.sent.values())
            after_done = swarm.status()["pushes_after_done"]
        cloud.end()
    return {
        "kills": Figure(kills, "", "times"),
        "reports_checked": Figure(said, "", "reports"),
        "lost_reports": Figure(lost, "== 0", "reports"),
        "pushes_after_done": Figure(after_done, "== 0", "pushes"),
    }


def _all_there(cloud: CloudProcess, talkers: Talkers) -> bool:
    """Return whether each device's last report is stored; reports arrive in order."""
    try:
        return all(
            cloud.api.device(f"T/{name}")["version"] == f"n{last}"
            for name, last in talkers.sent.items()
        )
    except ApiError:
        return False


def _lost(cloud: CloudProcess, talkers: Talkers) -> int:
    """Count the reports that the broker has acknowledged but the database lacks."""
    lost = 0
    for name, last in talkers.sent.items():
        reports = cloud.api.reports(cloud.api.device(f"T/{name}")["id"])
        found = {report["version"] for report in reports}
        lost += len({f"n{number}" for number in range(last + 1)} - found)
    return lost
