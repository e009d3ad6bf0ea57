"""Measure the bytes on the link for one firmware if the link is cut after every 64 KiB."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.sim import Cut

from ..figures import Figure
from .lane import SIZE, lane, make_firmware

EVERY = 65_536  # bytes
SEGMENT = 1436  # bytes
RATE = 400_000  # bytes per second, below what a board can receive
BUFFER = 2048  # bytes requested; the kernel doubles the value
# In front of boot.py: connections with a board's receive window; the kernel doubles this one too.
WINDOW = """
import socket, sys
class _Module:
    def __getattr__(self, name):
        return getattr(socket, name)
    def socket(self, *args):
        made = socket.socket(*args)
        made.setsockopt(socket.SOL_SOCKET, 8, 4096)  # SO_RCVBUF
        return made
sys.modules["socket"] = _Module()
"""
# Silence is detected only by a timeout; everything else is processed on arrival.
_CONFIG = {"http": {"deadline_s": 2}, "retry": {"first_s": 0.1}}


def ratio(kind: str) -> float:
    """Return the bytes sent to the board, including headers, per byte of the firmware."""
    with tempfile.TemporaryDirectory(prefix="ivota-bench-") as name:
        folder = Path(name)
        with lane(folder, make_firmware(folder), BUFFER) as link:
            link.proxy.segment(SEGMENT)
            link.proxy.pace(RATE)
            outcome = link.update(
                itertools.repeat(Cut(EVERY, kind)),
                files={"/boot.py": WINDOW.encode() + (CHECKOUT / "boot.py").read_bytes()},
                config=_CONFIG,
            )
    if outcome.wrong:
        raise RuntimeError("\n".join([outcome.wrong, *outcome.log]))
    if outcome.cuts < SIZE // EVERY:
        raise RuntimeError(f"the link was cut {outcome.cuts} times")
    return outcome.received / SIZE


def figures() -> dict[str, Figure]:
    unit = "bytes/byte"
    return {
        "wire_ratio_cut_64k": Figure(round(ratio("fin"), 4), "<= 1.01", unit),
        "wire_ratio_cut_64k_rst": Figure(round(ratio("rst"), 4), "", unit),
        "wire_ratio_cut_64k_silence": Figure(round(ratio("silence"), 4), "", unit),
    }


if __name__ == "__main__":
    for name, figure in figures().items():
        print(name, figure.value)
