"""Measure the heap that an idle client takes away from an application.

`python -m ivota_workshop.bench.download.idle` prints it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ivota_tools.cloud import Cloud
from ivota_tools.sim import Board

HEAP = 112 * 1024  # bytes, as on a board without PSRAM, whose heap has room for all modules

# Like main.py, but prints the heap in use whenever the client has nothing to do.
_MAIN = b"""
import gc
from ivota import agent, update_client
def wait(client, wait=update_client.Client.wait):
    entity = getattr(client.link, "entity", None)  # for Home Assistant
    shown = not entity or entity.link.up and not entity.link.waiting and not entity._due
    if client.link.up and not client.queue and shown:
        gc.collect()
        print("idle:", gc.mem_alloc())
    wait(client)
update_client.Client.wait = wait
agent.run()
"""


def measure(**more: Any) -> int:
    """Return the bytes in use while a client waits, without those in use before boot.py.

    `more` is added to the board's configuration.
    """
    with tempfile.TemporaryDirectory(prefix="ivota-bench-") as folder:
        with Cloud(Path(folder, "cloud")) as cloud:
            config = {
                "product_id": "P",
                "device_name": "idle",
                "mqtt": {"host": "127.0.0.1", "port": cloud.mqtt_port},
                **more,
            }
            board = Board(
                Path(folder, "board"),
                heap=str(HEAP),
                mpy=True,
                fs="host",
                config=config,
                files={"/main.py": _MAIN},
            )
            board.install()
            with board:
                board.power_on()
                board.wait_log(r"^idle: \d+", 60)
                found = [line for line in board.log if line.startswith("idle: ")]
                return int(found[0].split()[1]) - board.sim_heap


if __name__ == "__main__":
    print(measure())
