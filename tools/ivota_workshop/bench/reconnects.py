"""Reconnect many times in one process of 32-bit MicroPython, and measure what remains in use."""

from __future__ import annotations

import json
from pathlib import Path

from .device_run import measure


def run(folder: Path, port: int, name: str, rounds: int) -> dict[str, int]:
    """Connect, report and lose the link `rounds` times; return what grew."""
    config = {
        "product_id": "P",
        "device_name": name,
        "mqtt": {"host": "127.0.0.1", "port": port},
        "retry": {"first_s": 0.001, "most_s": 0.001},
    }
    args = json.dumps(config), str(folder), str(rounds)
    return measure("reconnects.py", *args, timeout_s=600)
