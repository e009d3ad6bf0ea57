"""Update one swarm from 0.1 to 0.2 in a staged campaign: is every device accounted for?"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from rich.console import Console

from ivota_tools.firmware import release
from ivota_tools.sim.swarm import Options
from ivota_tools.sim.swarm_micropython import Boards

from ..figures import Figure
from .stage import CloudProcess, SwarmThread, wait_for

SIZE = 125_000  # bytes of the firmware: larger than a bundle without padding
BOARDS = 4  # simulated boards with the real code among the devices
APP = "import time\n\n\ndef main():\n    while True:\n        time.sleep(1)\n"
STAGES = [{"percent": 1}, {"percent": 10}, {"percent": 100}]
LIMIT_S = 1800.0


def measure(folder: Path, count: int, console: Console) -> dict[str, Figure]:
    folder.mkdir()
    with CloudProcess(folder / "data", "--mqtt-port", 0) as cloud:
        cloud.api.upload(_bundle(folder))
        options = Options(count - BOARDS, port=cloud.said["mqtt_port"], slow=0.01, interval_s=60)
        with SwarmThread(options) as swarm, Boards(BOARDS, options):
            wait_for(lambda: len(cloud.api.devices()) == count, "the swarm", LIMIT_S, 2)
            console.print(f"{count} devices connected")
            began = time.monotonic()
            campaign = cloud.api.create_campaign(
                name="all", version="0.2", query="all", stages=STAGES, active_most=300, soak_s=0
            )["id"]

            def ended() -> bool:
                shown = cloud.api.campaign(campaign)
                console.print(f"{time.monotonic() - began:.0f} s: {shown['states']}")
                return bool(shown["state"] != "running")

            def accounted() -> int:
                """Count the devices that are done according to the console and to themselves."""
                done = int(cloud.api.campaign(campaign)["states"].get("done", 0))
                boards = len(cloud.api.query("name:board* version:0.2"))
                return min(done, int(swarm.status()["versions"].get("0.2", 0)) + boards)

            wait_for(ended, "the end of the campaign", LIMIT_S, 5)
            took = time.monotonic() - began
            with contextlib.suppress(RuntimeError):  # the figure shows a failure
                wait_for(lambda: accounted() >= count, "the last version", 10)
            found, too_many = accounted(), swarm.status()["pushes_after_done"]
    return {
        "devices": Figure(count, "", "devices"),
        "of_them_boards": Figure(BOARDS, "", "boards"),
        "devices_accounted": Figure(found, f">= {count}", "devices"),
        "campaign_s": Figure(round(took, 1), "", "s"),
        "pushes_after_done_fleet": Figure(too_many, "== 0", "pushes"),
    }


def _bundle(folder: Path) -> Path:
    """Build firmware that the boards in the swarm can run."""
    application = folder / "application"
    application.mkdir()
    (application / "app.py").write_text(APP)
    release.pack(application, "0.2", out=folder / "0.2.bin", pad_to=SIZE)
    return folder / "0.2.bin"
