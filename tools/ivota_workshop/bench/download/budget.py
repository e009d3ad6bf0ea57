"""Measure the heap in use at each point of a whole update.

`python -m ivota_workshop.bench.download.budget` prints the table of docs/design.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .heap import Lanes
from .lane import SIZE

HEAP = 48 * 1024  # bytes: enough, and so small that garbage is collected promptly

# Like main.py, but prints the heap in use at each event and around each module import. It uses
# hardly any name that is not interned anyway, because its pool of names is nearly full.
_MAIN = b"""
import gc
from micropython import qstr_info

def tell(text, name):
    gc.collect()
    print(text % (gc.mem_alloc(), name))
    qstr_info()

tell("budget: %d %s", "start")
import ivota
def once(name, load=ivota.once):
    load = load(name)
    tell("budget: %d load %s", name)
    return load
ivota.once = once
from ivota import agent
tell("budget: %d %s", "agent")
def log(level, name, log=agent.log, **more):
    log(level, name, **more)
    tell("budget: %d event %s", name)
agent.log = log
agent.run()
"""


_POINT = re.compile(r"budget: (\d+) (.*)\nqstr pool: .*n_qstr=(\d+), .*n_total_bytes=(\d+)")


@dataclass(frozen=True)
class Point:
    """Bytes in use at an event or after importing a module, and the names interned by then."""

    bytes: int
    what: str
    names: int
    names_bytes: int


def measure() -> tuple[int, list[Point]]:
    """Return the bytes in use before boot.py, and all points until the restart.

    Raises RuntimeError.
    """
    with Lanes.open(SIZE, number=1) as lanes:
        outcome = lanes.update(HEAP, {"/main.py": _MAIN})
    log = "\n".join(outcome.log)
    before = re.search(r"^sim: heap (\d+)", log, re.MULTILINE)
    if outcome.wrong or not before:
        raise RuntimeError(f"{outcome.wrong}\n{log}")
    found = _POINT.findall(log.partition("ivota: restart")[0])
    points = [Point(int(size), what, int(n), int(text)) for size, what, n, text in found]
    return int(before[1]), points


def markdown(before: int, points: list[Point]) -> str:
    """Return a table of the heap that each point adds, with a running total."""
    by_name = {point.what: point for point in reversed(points)}
    most = max(points, key=lambda point: point.bytes)
    lines = [
        ("MicroPython and the simulator, before `boot.py`", before),
        ("`boot.py` and `main.py`", by_name["start"].bytes),
        ("`agent`", by_name["agent"].bytes),
        (
            "`update_client`, `report_queue`, `mqtt_session`, `guarded_socket`, the configuration",
            by_name["event running"].bytes,
        ),
        ("the broker: `umqtt.simple` and its stream", by_name["event connected"].bytes),
        ("an update: the push and `update`", by_name["event update"].bytes),
        ("its file: target, buffer, digest", by_name["event download"].bytes),
        (f"the most: `requests`, its stream; `{most.what.split()[-1]}` is loaded", most.bytes),
    ]
    rows = ["| what | bytes | so far |", "|---|---|---|"]
    last = 0
    for what, so_far in lines:
        rows.append(f"| {what} | {so_far - last:,} | {so_far:,} |")
        last = so_far
    names = f"{most.names} names, which the collector never frees, take {most.names_bytes:,} bytes"
    return "\n".join([*rows, "", f"In the last line, {names}."])


if __name__ == "__main__":
    print(markdown(*measure()))
