"""Measure the cost of a download with each downloader: smallest heap, instructions per byte."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ivota_tools.cloud.mqtt.mosquitto_process import Broker

from ..download.heap import LANES, smallest
from ..download.instructions import HEAP, Counter, count
from .cases import SIZE, Case
from .run import Files, run
from .ways import DEVICE, OURS, Way, firmware, modules

LEAST, MOST = 4096, 8 * 1024 * 1024  # bytes of heap
_FAST = Case("heap", "a good link, as fast as it goes", rate=0, limit_s=60.0, tries=1)
_ROOMY = "16m"  # for objects of 64 bits


def heap(way: Way, broker: Broker, low: int = LEAST, high: int = MOST) -> int:
    """Find the smallest heap, in bytes on 32 bits, in which a whole firmware is received."""

    def succeeds(size: int) -> bool:
        return run(way, _FAST, broker.port, str(size)).whole

    with ThreadPoolExecutor(LANES) as pool:
        return smallest(lambda sizes: list(pool.map(succeeds, sizes)), low, high)


def instructions(way: Way, broker: Broker, size: int = SIZE) -> float:
    """Count the instructions of a download, minus those of a start, per byte.

    It runs in a board's heap if that is large enough, otherwise in a larger one.
    """
    with tempfile.TemporaryDirectory(prefix="ivota-bench-") as name:
        folder = Path(name)
        if way is OURS:
            return Counter(folder, broker).bulk()
        for path, data in modules(way).items():
            (folder / path).write_bytes(data)
        try:
            return _counted(folder, size, HEAP)
        except RuntimeError:
            return _counted(folder, size, _ROOMY)


def _counted(folder: Path, size: int, heap: str) -> float:
    script, flash = DEVICE / "count.py", folder / "flash"
    data = firmware(size)
    flash.mkdir(exist_ok=True)
    (flash / "version").write_text("0.1")
    with Files(data) as files:
        start_up = count(script, str(flash), library=folder, heap=heap)
        host = f"http://127.0.0.1:{files.port}"
        found = count(script, str(flash), host, library=folder, heap=heap)
    if (flash / "firmware.py").read_bytes() != data:
        raise RuntimeError("what was written is not what was sent")
    return (found - start_up) / size
