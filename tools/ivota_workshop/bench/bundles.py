"""Measure a bundle's overhead beyond its files, and the heap boot.py needs to import bundlefs.

Part of `make bench-small`; `python -m ivota_workshop.bench.bundles` measures these figures alone.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from binascii import crc32
from pathlib import Path

from rich.console import Console

from ivota_tools.common import project_files
from ivota_tools.firmware.release import pack
from ivota_tools.toolchain import micropython

from .download.heap import smallest
from .figures import Figure, report

AREA = "small"
COMMAND = "make bench-small"
BLINK = project_files.root() / "examples" / "blink"
_SPLIT = "def load():"  # in lib/bundlefs.py, the first function of its second job


def sizes() -> dict[str, Figure]:
    """Measure bundles of the blink example, with the updater and without."""
    with tempfile.TemporaryDirectory(prefix="ivota-bench-") as folder:
        whole = pack(BLINK, "0.1", out=Path(folder, "whole.bin"))
        version = project_files.version()
        alone = pack(BLINK, "0.1", out=Path(folder, "alone.bin"), updater_min=version)
    content = sum(file.size for file in whole.files)
    overhead = round(100 * (whole.size - content) / whole.size, 2)
    return {
        "bundle_overhead_percent": Figure(overhead, "<= 5", "%"),
        "bundle_bytes_app_only": Figure(alone.size, "<= 1024", "bytes"),
    }


def boot_heap() -> dict[str, Figure]:
    """Find the smallest heap in which boot.py can import bundlefs from its source, on 32 bits.

    For comparison, also measure two modules, one for each of its jobs, and the first one alone,
    which would suffice while no bundle is active.
    """
    return {name: Figure(_import_heap(each), "", "bytes") for name, each in cases().items()}


def cases() -> dict[str, dict[str, str]]:
    """Return the source of each module to import, for each figure."""
    source = (project_files.LIBRARY / "bundlefs.py").read_text().rpartition("# ")[0]
    mounts, split, chooses = source.partition(_SPLIT)
    head = re.split(r"^FORMATS = ", mounts, flags=re.MULTILINE)[0]
    chooses = f'{head}_STATE = "/ivota-state.json"\n{split}{chooses}'
    return {
        "bundlefs_heap_bytes_32bit": {"bundlefs": source},
        "bundlefs_heap_bytes_32bit_split": {"state": chooses, "mount": mounts},
        "bundlefs_heap_bytes_32bit_split_idle": {"state": chooses},
    }


def _import_heap(modules: dict[str, str]) -> int:
    return smallest(lambda heaps: [imports(modules, heap) for heap in heaps], 4096, 65_536, 2)


def imports(modules: dict[str, str], heap: int) -> bool:
    """Return whether MicroPython with 32 bits imports these modules in a heap of that size."""
    with tempfile.TemporaryDirectory(prefix="ivota-bench-") as folder:
        for name, source in modules.items():
            Path(folder, f"{name}.py").write_text(_sealed(source))
        code = f"import sys; sys.path[:] = [{folder!r}]; import {', '.join(modules)}"
        command = [*micropython(32), "-X", f"heapsize={heap}", "-c", code]
        return not subprocess.run(command, capture_output=True).returncode


def _sealed(source: str) -> str:
    crc = 0
    for line in source.encode().splitlines():
        crc = crc32(line.rstrip(), crc)
    return f"{source}# {crc:08x}\n"


def figures() -> dict[str, Figure]:
    return {**sizes(), **boot_heap()}


def main() -> None:
    sys.exit(report(AREA, COMMAND, figures(), Console(), part=True))


if __name__ == "__main__":
    main()
