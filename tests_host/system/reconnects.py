"""Many reconnections in one process of 32-bit MicroPython: what they leave behind."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from ivota_tools.toolchain import micropython, umqtt

CHECKOUT = Path(__file__).parents[2]

# Runs on MicroPython. The first ten rounds may grow what is allocated once.
_SCRIPT = """
import gc, json, os, sys, time
sys.path[:0] = PATHS
from ivota.client import Client
from ivota.state import State

client = Client(CONFIG, "0.1", print, firmware_dir=FOLDER, state=State(FOLDER + "/state.json"))

def sockets():
    return len(list(os.ilistdir("/proc/self/fd")))

def round():
    until = time.ticks_add(time.ticks_ms(), 20000)
    while not client._link.up or client.unsent():
        client.step()
        assert time.ticks_diff(until, time.ticks_ms()) > 0, "no connection"
    client._link.lost(OSError("on purpose"))
    client._link._retry.reset()

def measure():
    gc.collect()
    gc.collect()
    return gc.mem_alloc(), sockets()

for _ in range(10):
    round()
heap, fds = measure()
for _ in range(ROUNDS):
    round()
heap2, fds2 = measure()
print(json.dumps({"reconnects": ROUNDS, "heap_growth_bytes": heap2 - heap,
                  "open_sockets_growth": fds2 - fds}))
"""


def run(folder: Path, port: int, name: str, rounds: int) -> dict[str, int]:
    """Connects, reports and loses the link `rounds` times; what grew meanwhile."""
    config = {
        "product_id": "P",
        "device_name": name,
        "mqtt": {"host": "127.0.0.1", "port": port},
        "retry": {"first_s": 0, "most_s": 0},
    }
    script = folder / "reconnects.py"
    paths = [str(CHECKOUT / "lib"), str(umqtt())]
    script.write_text(
        f"PATHS = {paths!r}\nCONFIG = {config!r}\nFOLDER = {str(folder)!r}\nROUNDS = {rounds}\n"
        + _SCRIPT
    )
    done = subprocess.run(
        [*micropython(32), str(script)],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found
