"""Measure the time from ordering a push to its arrival at the device, with a thousand devices."""

from __future__ import annotations

import random
import statistics
import threading
import time
from pathlib import Path
from typing import Any

from ivota_tools.sim.swarm import Device, Options

from ..figures import Figure
from .stage import CloudProcess, SwarmThread, upload, wait_for

DEVICES = 1000
PUSHES = 300


def measure(folder: Path) -> dict[str, Figure]:
    folder.mkdir()
    arrived: dict[str, float] = {}
    news = threading.Event()

    def log(what: str, device: Device, _message: dict[str, Any]) -> None:
        if what == "push":
            arrived.setdefault(device.name, time.monotonic())
            news.set()

    with CloudProcess(folder / "data", "--mqtt-port", 0) as cloud:
        upload(cloud.api, folder, "0.2", bytes(1000))
        options = Options(DEVICES, port=cloud.said["mqtt_port"], interval_s=20)
        with SwarmThread(options, log):
            wait_for(lambda: len(cloud.api.devices()) == DEVICES, "the swarm", 120)
            taken = []
            for number in random.Random(3).sample(range(DEVICES), PUSHES):
                name = f"d{number:05}"
                began = time.monotonic()
                cloud.api.push(f"{options.product}/{name}", "0.2")
                while name not in arrived:
                    if not news.wait(10):
                        raise RuntimeError(f"the push to {name} did not arrive")
                    news.clear()
                taken.append(1000 * (arrived[name] - began))
    cuts = statistics.quantiles(taken, n=100)
    return {
        "push_latency_ms_p50": Figure(round(cuts[49], 1), "", "ms"),
        "push_latency_ms_p99": Figure(round(cuts[98], 1), "", "ms"),
    }
