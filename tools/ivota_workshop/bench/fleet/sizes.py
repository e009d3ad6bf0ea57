"""Calculate what fleets of four sizes need: `python -m ivota_workshop.bench.fleet.sizes`.

The inputs are measured figures, read from the tables of docs/, and the assumptions below. It
writes the tables of docs/scale.md, and measures nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..download.lane import SIZE
from ..figures import DOCUMENT, SCALE, document

AREA = "sizes"
FLEETS = (10_000, 100_000, 1_000_000, 10_000_000)
INTERVALS_S = (300, 3_600)  # between two reports: the boards' own, and a setting for a large fleet
DAY_S = 86_400
UPDATE_REPORTS = 15  # of a board during an update
UPDATE_ROWS = (
    4  # of them are stored: the start of the download, the installation, the end, version
)
DELTA_SHARE = 0.1  # of the firmware's bytes
NODE_GIB = 16  # memory of a machine with a broker node, of which half is for connections
MACHINE_GBIT = 1.0  # per second, of a machine's network
CELL_DEVICES = 1_000_000
GIB = 1 << 30

# Measured, by the command that the table in the document names.
INPUTS = {
    "broker_kib_per_device": "KiB of RabbitMQ's memory per connected device",
    "balancer_kib_per_device": "KiB of HAProxy's memory per connected device",
    "intake_e2e_1_reports_per_s": "reports that a process stores per second",
    "report_bytes": "bytes of a stored report, with its indexes",
    "device_bytes": "bytes of a device in the database, with its indexes",
}


def documented(*pages: Path) -> dict[str, float]:
    """Return the figures in the tables of documents, by name."""
    found = re.findall(
        r"^\| `(\w+)` \| ([\d,.]+) \|", "".join(page.read_text() for page in pages), re.M
    )
    return {name: float(value.replace(",", "")) for name, value in found}


def markdown(figures: Mapping[str, float]) -> str:
    """Return the tables. Raises KeyError if an input has not been measured."""
    return "\n\n".join(
        [_inputs(figures), _load(figures), _update(), _memory(figures), _parts(figures)]
    )


def _inputs(figures: Mapping[str, float]) -> str:
    measured = [(text, f"{figures[name]:,g}", f"`{name}`") for name, text in INPUTS.items()]
    assumed = [
        ("size of a firmware in bytes", f"{SIZE:,}", "assumed"),
        ("reports that a board sends during an update", str(UPDATE_REPORTS), "assumed"),
        ("of these reports, stored in separate rows", str(UPDATE_ROWS), "assumed"),
        ("size of a delta, relative to the firmware", f"{DELTA_SHARE:.0%}", "assumed"),
        ("GiB of memory in a broker's machine, half of it for devices", str(NODE_GIB), "assumed"),
        ("Gbit/s of a machine's network", f"{MACHINE_GBIT:g}", "assumed"),
    ]
    return _table(("input", "value", "from"), [*measured, *assumed], "lrl")


def _load(figures: Mapping[str, float]) -> str:
    rows = []
    for devices in FLEETS:
        stored = (devices * DAY_S / every * figures["report_bytes"] / 1e9 for every in INTERVALS_S)
        rates = (devices / every for every in INTERVALS_S)
        rows.append([f"{devices:,}", *map(_rounded, rates), *map(_rounded, stored)])
    heads = ["devices, all connected", *_every("reports/s"), *_every("GB stored a day")]
    return _table(heads, rows, "rrrrr")


def _update() -> str:
    rows = []
    for devices in FLEETS:
        full = devices * SIZE
        rows.append(
            [
                f"{devices:,}",
                _rounded(devices / DAY_S),
                _rounded(devices * UPDATE_REPORTS / DAY_S),
                *(_rounded(share * full / 1e12) for share in (1, DELTA_SHARE)),
                *(_rounded(share * full * 8 / DAY_S / 1e9) for share in (1, DELTA_SHARE)),
            ]
        )
    heads = [
        "devices, all updated in a day", "pushes/s", "additional reports/s", "TB of firmware",
        "TB of deltas", "Gbit/s of firmware", "Gbit/s of deltas",
    ]  # fmt: skip
    return _table(heads, rows, "rrrrrrr")


def _memory(figures: Mapping[str, float]) -> str:
    rows = [
        [
            f"{devices:,}",
            *(
                _rounded(devices * figures[name] * 1024 / GIB)
                for name in ("broker_kib_per_device", "balancer_kib_per_device")
            ),
            _rounded(devices * figures["device_bytes"] / GIB),
            _rounded(devices * UPDATE_ROWS * figures["report_bytes"] / GIB),
        ]
        for devices in FLEETS
    ]
    heads = [
        "devices", "GiB, all RabbitMQ nodes", "GiB, HAProxy", "GiB, rows of devices on disk",
        "GiB, rows of one update on disk",
    ]  # fmt: skip
    return _table(heads, rows, "rrrrr")


def _parts(figures: Mapping[str, float]) -> str:
    rows = []
    for devices in FLEETS:
        for every in INTERVALS_S:
            cells = math.ceil(devices / CELL_DEVICES)
            needs = needed(devices, every, figures)
            rows.append(
                [
                    f"{devices:,}",
                    f"{every:,} s",
                    _rounded(needs["storing reports"]),
                    _rounded(needs["connections"]),
                    _rounded(needs["downloads"]),
                    max(needs, key=lambda name: needs[name]),
                    str(cells),
                ]
            )
    heads = [
        "devices", "report every", "processes that store reports", "machines for connections",
        "machines for full downloads in a day", "bottleneck", "cells",
    ]  # fmt: skip
    return _table(heads, rows, "rrrrrlr")


def needed(devices: int, every_s: float, figures: Mapping[str, float]) -> dict[str, float]:
    """Return how much of one process or machine each part takes: 2.5 is two and a half."""
    connections = devices * figures["broker_kib_per_device"] * 1024
    return {
        "storing reports": devices / every_s / figures["intake_e2e_1_reports_per_s"],
        "connections": connections / (NODE_GIB * GIB / 2),
        "downloads": devices * SIZE * 8 / DAY_S / 1e9 / MACHINE_GBIT,
    }


def _every(what: str) -> list[str]:
    return [f"{what}, every {every:,} s" for every in INTERVALS_S]


def _rounded(value: float) -> str:
    """Two significant digits are all that these inputs are worth."""
    if value >= 10:
        digits = 1 - int(math.floor(math.log10(value)))
        return f"{round(value, digits):,.0f}"
    return f"{value:.2g}" if value >= 0.01 else "< 0.01"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    marks = ("---:" if each == "r" else "---" for each in align)
    lines = [heads, *rows]
    text = [f"| {' | '.join(line)} |" for line in lines]
    text.insert(1, f"|{'|'.join(marks)}|")
    return "\n".join(text)


def write() -> None:
    document(SCALE, AREA, markdown(documented(SCALE, DOCUMENT)))


if __name__ == "__main__":
    write()
