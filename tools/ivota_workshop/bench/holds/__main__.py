"""Measure everything, or only the named parts and keep the other figures; see `--help`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from ..figures import Figure, read, report, write
from . import devices, requests
from .clients import raise_descriptors

AREA = "holds"
COMMAND = "make bench-holds"
PARTS: dict[str, Callable[[Path], dict[str, Figure]]] = {
    "bodies": requests.bodies,
    "silence": requests.silence,
    "signals": requests.signals,
    "flood": devices.flood,
    "disk": devices.disk,
    "revoked": devices.revoked,
    "tls": devices.tls,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ivota_workshop.bench.holds")
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], help="measure these and keep the rest"
    )
    chosen = parser.parse_args().parts
    raise_descriptors()
    console = Console()
    before = read(AREA) if chosen else {}
    figures: dict[str, Figure] = {}
    with tempfile.TemporaryDirectory(prefix="ivota-bench-") as name:
        for part in chosen or PARTS:
            console.rule(part)
            folder = Path(name, part)
            folder.mkdir()
            figures |= PARTS[part](folder)
            # Keep what has been measured even if a later part fails.
            write(AREA, COMMAND, before | figures)
    return report(AREA, COMMAND, figures, console, part=bool(chosen))


if __name__ == "__main__":
    sys.exit(main())
