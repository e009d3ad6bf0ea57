"""One swarm from 0.1 to 0.2 in a staged campaign: is every device accounted for?"""

from __future__ import annotations

import random
import time
from pathlib import Path

from rich.console import Console

from ...sim.swarm import Options
from ..figures import Figure
from .stage import CloudProcess, SwarmThread, upload, wait_for

SIZE = 100_000  # bytes of the firmware
STAGES = [{"percent": 1}, {"percent": 10}, {"percent": 100}]
LIMIT_S = 1800.0


def measure(folder: Path, count: int, console: Console) -> dict[str, Figure]:
    folder.mkdir()
    with CloudProcess(folder / "data", "--mqtt-port", 0) as cloud:
        upload(cloud.api, folder, "0.2", random.Random(2).randbytes(SIZE))
        options = Options(count, port=cloud.said["mqtt_port"], slow=0.01, interval_s=60)
        with SwarmThread(options) as swarm:
            wait_for(lambda: len(cloud.api.devices()) == count, "the swarm", LIMIT_S, 2)
            console.print(f"{count} devices connected")
            began = time.monotonic()
            campaign = cloud.api.create_campaign(
                name="all", version="0.2", query="all", stages=STAGES, active_most=300
            )["id"]

            def ended() -> bool:
                shown = cloud.api.campaign(campaign)
                console.print(f"{time.monotonic() - began:.0f} s: {shown['states']}")
                return bool(shown["state"] != "running")

            wait_for(ended, "the end of the campaign", LIMIT_S, 5)
            took = time.monotonic() - began
            states = cloud.api.campaign(campaign)["states"]
            there = swarm.status()
            accounted = min(states.get("done", 0), there["versions"].get("0.2", 0))
    return {
        "devices": Figure(count, "", "devices"),
        "devices_accounted": Figure(accounted, f">= {count}", "devices"),
        "campaign_s": Figure(round(took, 1), "", "s"),
        "pushes_after_done_fleet": Figure(there["pushes_after_done"], "== 0", "pushes"),
    }
