"""Compare reports stored per second with what mosquitto's own subscriber receives meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import subprocess
import threading
import time
from pathlib import Path

from ivota_tools.sim.swarm_mqtt import Link
from ivota_tools.toolchain import mosquitto_sub

from ..figures import Figure
from .stage import CloudProcess

LINKS = 50
WINDOW = 20  # publishes of a link that may await their acknowledgement
SECONDS = 15.0


def measure(folder: Path) -> dict[str, Figure]:
    folder.mkdir()
    with CloudProcess(folder / "data", "--mqtt-port", 0) as cloud:
        port = cloud.said["mqtt_port"]
        command = [*mosquitto_sub(), "-p", str(port), "-q", "1", "-t", "$ota/report/#", "-F", "x"]
        subscriber = subprocess.Popen(command, stdout=subprocess.PIPE)
        received = 0

        def count() -> None:
            nonlocal received
            assert subscriber.stdout
            while data := subscriber.stdout.read1(65536):  # type: ignore[attr-defined]
                received += data.count(b"x")

        counting = threading.Thread(target=count)
        counting.start()
        time.sleep(1)

        def stored() -> int:
            return int(cloud.api.health()["counters"].get("report_version", 0))

        publishing = threading.Thread(target=lambda: asyncio.run(_flood(port, SECONDS + 3)))
        publishing.start()
        time.sleep(2)  # until the flood is at full rate
        began, before, had = time.monotonic(), stored(), received
        time.sleep(SECONDS)
        seconds, ours, theirs = time.monotonic() - began, stored() - before, received - had
        publishing.join()
        subscriber.terminate()
        subscriber.wait()
        counting.join()
    return {
        "reports_stored_per_s": Figure(round(ours / seconds), "", "1/s"),
        "reports_received_per_s": Figure(round(theirs / seconds), "", "1/s"),
        "reports_per_s_ratio": Figure(round(ours / max(theirs, 1), 3), ">= 0.3", ""),
    }


async def _flood(port: int, seconds: float) -> None:
    links = []
    for number in range(LINKS):
        link = Link(f"flood{number}", lambda *_: None)
        await link.open("127.0.0.1", port, f"$ota/update/F/d{number}")
        links.append((link, f"$ota/report/F/d{number}"))
    end = time.monotonic() + seconds

    async def publish(link: Link, topic: str) -> None:
        for number in itertools.count():
            if time.monotonic() > end:
                return
            report = {"type": "report_version", "report": {"version": f"0.{number}"}}
            with contextlib.suppress(asyncio.TimeoutError):
                await link.publish(topic, json.dumps(report).encode(), 1)

    await asyncio.gather(*(publish(*each) for each in links for _ in range(WINDOW)))
    for link, _ in links:
        link.close()
