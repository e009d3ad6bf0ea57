"""`make bench-link`: hangs of the bare libraries, ours in their place, reconnects, long steps."""

from __future__ import annotations

import hashlib
import json
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ivota_tools.cloud.mqtt.mosquitto_process import Broker

from .device_run import measure
from .figures import Figure, show, write
from .reconnects import run as reconnect
from .steps import steps
from .traps import CASES, HANG, Case, cured, run
from .traps.server import Server, serve_file

COMMAND = "make bench-link"
ROUNDS = 1000
IDLE_S = 10.0
KEEPALIVE_S = 4  # so that the idle time contains as many pings as ten minutes in the field
DOWNLOAD = random.Random(1).randbytes(300_000)
LEAST = 14


def main() -> None:
    console = Console()
    with tempfile.TemporaryDirectory(prefix="ivota-bench-") as folder:
        root = Path(folder)
        with (
            Broker(root / "broker", "127.0.0.1", 0, console.print) as broker,
            steps(console, len(CASES) + 2) as step,
        ):
            figures, table = traps(step)
            step(f"{ROUNDS:,} reconnects")
            figures |= reconnections(root, broker)
            step("the longest step")
            figures |= longest_steps(root, broker)
    console.print(table)
    met = show(figures, console)
    console.print(f"written to {write('link', COMMAND, figures)}")
    sys.exit(0 if met else 1)


def traps(step: Callable[[str], None]) -> tuple[dict[str, Figure], Table]:
    """Count the traps that hang the bare libraries, and those that ours escapes."""
    table = Table("trap", "library", "bare", "ours: lost", "longest step", "all well after")
    hang_cases: list[Case] = []
    hang_cured = fault_cases = fault_cured = 0
    for case in CASES:
        step(case.name)
        bare, ours = run(case)
        times = f"{ours.step_ms_max} ms", f"{ours.ms} ms" if cured(case, ours) else "NOT"
        table.add_row(case.name, case.library, bare.outcome, str(len(ours.lost)), *times)
        if bare.outcome == HANG:
            hang_cases.append(case)
            hang_cured += cured(case, ours)
        elif bare.outcome == case.kind:
            fault_cases += 1
            fault_cured += cured(case, ours)
    number = len(hang_cases)
    figures = {
        "hang_cases": Figure(number, f">= {LEAST}", "cases"),
        "hang_cases_cured": Figure(hang_cured, f"== {number}", "cases"),
        "fault_cases": Figure(fault_cases, "", "cases"),
        "fault_cases_cured": Figure(fault_cured, f"== {fault_cases}", "cases"),
    }
    return figures, table


def reconnections(root: Path, broker: Broker) -> dict[str, Figure]:
    folder = root / "reconnects"
    folder.mkdir()
    found = reconnect(folder, broker.port, "reconnects", ROUNDS)
    return {
        "reconnects": Figure(found["reconnects"], f">= {ROUNDS}", "reconnects"),
        "heap_growth_bytes": Figure(found["heap_growth_bytes"], "<= 0", "bytes"),
        "open_sockets_growth": Figure(found["open_sockets_growth"], "<= 0", "sockets"),
    }


def longest_steps(root: Path, broker: Broker) -> dict[str, Figure]:
    """Measure by how much the longest step of a download exceeds the longest one at rest."""
    folder = root / "steps"
    folder.mkdir()
    config = {
        "product_id": "P",
        "device_name": "steps",
        "mqtt": {"host": "127.0.0.1", "port": broker.port, "keepalive_s": KEEPALIVE_S},
    }
    serve = serve_file(DOWNLOAD)
    with Server(serve, serve, 0) as server:
        push = {
            "type": "update_firmware",
            "version": "2",
            "url": f"http://127.0.0.1:{server.port}/f",
            "md5sum": hashlib.md5(DOWNLOAD).hexdigest(),
            "file_size": len(DOWNLOAD),
        }
        args = json.dumps(config), str(folder), str(IDLE_S), json.dumps(push)
        found = measure("steps.py", *args, timeout_s=120)
    over = found["download_ms"] - found["idle_ms"]
    return {
        "step_ms_max_idle": Figure(round(found["idle_ms"], 2), "", "ms"),
        "step_ms_max_download": Figure(round(found["download_ms"], 2), "", "ms"),
        "step_ms_max_over_idle": Figure(round(over, 2), "", "ms"),
    }


if __name__ == "__main__":
    main()
