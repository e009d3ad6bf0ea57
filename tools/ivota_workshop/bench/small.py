"""`make bench-small`: measure what deltas and compression save, and what building them costs.

The firmware is public: MicroPython of an ESP8266 and of a pyboard from the source archive of
detools, and releases of the web framework microdot, as bundles. The same run also measures
detools, whose patches with heatshrink are designed for small devices.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ivota_tools.firmware import bundle, patch
from ivota_tools.firmware.mpy_compiler import compile_mpy
from ivota_tools.sim import Board
from ivota_tools.sim.filesystem import BLOCK
from ivota_tools.toolchain import micropython, sources

from . import bundles, patched
from .download.heap import smallest
from .download.instructions import compiled_library, count
from .figures import Figure, report
from .steps import steps

AREA = "small"
COMMAND = "make bench-small"
DEVICE = Path(__file__).parent / "device"
APPLY, COPY = DEVICE / "apply_patch.py", DEVICE / "copy_and_hash.py"

DETOOLS = "detools==0.53.0"
ARCHIVES = {
    DETOOLS: "95b5bdeaaaf76e73ca4c8015f2d7c0cc98fbe91f5119b0a97faeb991315241db",
    "microdot==2.5.0": "c70ee626acd83d477e3513db2df6bf5917d3af30ccfcc08818258395d19ddb7d",
    "microdot==2.6.1": "d56824f4510e628dac711c86121957894ceaf833298e4d25f06c29d2b19a1721",
    "microdot==2.6.2": "7bb9a69fa97a47d8fe07e61d9dd405804744132ca52d26705cf1173431ff7f4b",
}
GOALS = {"firmware": "<= 13", "image": "", "py": "<= 0.5", "mpy": "<= 4"}


@dataclass(frozen=True)
class Pair:
    """A firmware and its next version."""

    base: bytes
    result: bytes

    def patch(self) -> bytes:
        return patch.make(self.base, self.result, base_version="0.1")

    def percent(self, size: int) -> float:
        return round(100 * size / len(self.result), 3)


def pairs() -> dict[str, Pair]:
    """Return the pairs by their names in the figures."""
    found = sources(DETOOLS, ARCHIVES[DETOOLS], "tests/files") / "tests" / "files"
    esp, pyb = found / "micropython", found / "pybv11"
    return {
        "firmware": Pair(
            (esp / "esp8266-20180511-v1.9.4.bin").read_bytes(),
            (esp / "esp8266-20190125-v1.10.bin").read_bytes(),
        ),
        "image": Pair(
            (pyb / "v1.10" / "firmware1.bin").read_bytes(),
            (pyb / "1f5d945af" / "firmware1.bin").read_bytes(),
        ),
        "py": Pair(_microdot("2.6.1", mpy=False), _microdot("2.6.2", mpy=False)),
        "mpy": Pair(_microdot("2.5.0", mpy=True), _microdot("2.6.2", mpy=True)),
    }


def _microdot(version: str, mpy: bool) -> bytes:
    """Return the package of a release as a bundle."""
    requirement = f"microdot=={version}"
    folder = sources(requirement, ARCHIVES[requirement], "src") / "src"
    contents = {}
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder).as_posix()
        data = path.read_bytes()
        contents[name[:-3] + ".mpy" if mpy else name] = compile_mpy(data, name) if mpy else data
    return bundle.build(contents, "microdot", version)


def sizes(found: dict[str, Pair]) -> dict[str, Figure]:
    """Measure patches, with headers, and compressed firmware, as shares of their results."""
    figures = {}
    for name, pair in found.items():
        data = pair.patch()
        if patch.apply(pair.base, data) != pair.result:
            raise RuntimeError(f"the patch of {name} makes something else")
        figures[f"delta_percent_{name}"] = Figure(pair.percent(len(data)), GOALS[name], "%")
    for name, pair in found.items():
        packer = zlib.compressobj(9, zlib.DEFLATED, -patch.WINDOW)
        size = len(packer.compress(pair.result) + packer.flush())
        figures[f"deflate_percent_{name}"] = Figure(pair.percent(size), "", "%")
    return figures


def beside_detools(found: dict[str, Pair]) -> dict[str, Figure]:
    """Measure detools' patches of these pairs: heatshrink, and lzma, which needs more memory."""
    figures = {}
    ratios = []
    for name, pair in found.items():
        ours = len(pair.patch())
        for compression in ("heatshrink", "lzma"):
            size = len(_detools(pair, compression))
            figures[f"{compression}_percent_{name}"] = Figure(pair.percent(size), "", "%")
            if compression == "heatshrink":
                ratios.append(ours / size)
    worst = Figure(round(max(ratios), 3), "<= 1.0", "ratio")
    return {"delta_vs_heatshrink_worst": worst, **figures}


def _detools(pair: Pair, compression: str) -> bytes:
    import detools

    out = io.BytesIO()
    detools.create_patch(
        io.BytesIO(pair.base), io.BytesIO(pair.result), out, compression=compression
    )
    return out.getvalue()


class Work:
    """A folder with compiled modules, a base and a patch, and the results made from them."""

    def __init__(self, folder: Path, pair: Pair) -> None:
        self._folder, self._pair = folder, pair
        self._data = pair.patch()
        self.library = compiled_library(folder / "lib")
        self._numbers = iter(range(1 << 30))
        (folder / "0.1.bin").write_bytes(pair.base)
        (folder / "result").write_bytes(pair.result)

    def _fresh(self) -> Path:
        """Return a folder with the patch alone."""
        folder = self._folder / f"fresh{next(self._numbers)}"
        folder.mkdir()
        (folder / "2.bin").write_bytes(self._data)
        return folder

    def runs(self, heap: int) -> bool:
        """Return whether the whole result is built within that heap, on 32 bits."""
        folder = self._fresh()
        command = [*micropython(32), "-X", f"heapsize={heap}", str(APPLY)]
        done = subprocess.run(
            [*command, str(folder), str(self._folder / "0.1.bin")],
            env={**os.environ, "MICROPYPATH": f".frozen:{self.library}"},
            capture_output=True,
            timeout=120,
        )
        good = done.returncode == 0 and (folder / "2.new").read_bytes() == self._pair.result
        shutil.rmtree(folder)
        return good

    def run_in(self, heaps: list[int]) -> list[bool]:
        return [self.runs(heap) for heap in heaps]

    def instructions(self) -> tuple[float, float]:
        """Count instructions per byte of the result: to build it, and to copy and hash it."""
        folder = str(self._fresh())
        base = str(self._folder / "0.1.bin")
        size = len(self._pair.result)
        made = count(APPLY, folder, base, library=self.library)
        made -= count(APPLY, folder, library=self.library)
        result, place = str(self._folder / "result"), str(self._folder / "copy")
        copied = count(COPY, result, place) - count(COPY, result)
        if Path(folder, "2.new").read_bytes() != self._pair.result:
            raise RuntimeError("something else was made")
        return made / size, copied / size

    def erased(self) -> float:
        """Count erases per block of the result, on a board's littlefs."""
        files = {"/firmware/0.1.bin": self._pair.base, "/firmware/2.bin": self._data}
        main = APPLY.read_bytes()
        with Board(
            self._folder / "board", mpy=True, files={**files, "/main.py": main}, blocks=640
        ) as board:
            board.install()
            before = board.flash_counts()["erases"]
            board.power_on()
            board.wait_log(r"made (\d+)", 300)
            erases = board.flash_counts()["erases"] - before
            board.stop()
            if board.read("/firmware/2.new") != self._pair.result:
                raise RuntimeError("something else was made")
        return erases / -(-len(self._pair.result) // BLOCK)


def on_a_board(found: dict[str, Pair], step: Callable[[str], None]) -> dict[str, Figure]:
    """Measure building the largest result, and the heap of each."""
    heaps = []
    for name, pair in found.items():
        step(f"heap of {name}")
        with tempfile.TemporaryDirectory(prefix="ivota-bench-") as folder:
            work = Work(Path(folder), pair)
            heaps.append(smallest(work.run_in, 8192, 65_536, 2))
    with tempfile.TemporaryDirectory(prefix="ivota-bench-") as folder:
        work = Work(Path(folder), found["firmware"])
        step("instructions")
        made, copied = work.instructions()
        step("erases")
        erased = work.erased()
    unit = "instructions/byte"
    return {
        "delta_heap_bytes_min_32bit": Figure(max(heaps), "<= 20480", "bytes"),
        "delta_instructions_per_byte": Figure(round(made, 2), "", unit),
        "copy_instructions_per_byte": Figure(round(copied, 2), "", unit),
        "delta_instructions_ratio": Figure(round(made / copied, 3), "<= 3", "ratio"),
        "delta_erases_per_block": Figure(round(erased, 3), "<= 1.03", "erases"),
    }


def main() -> None:
    console = Console()
    with steps(console, 6 + len(GOALS)) as step:
        step("bundles")
        figures = bundles.figures()
        step("firmware that others have published")
        found = pairs()
        step("patches")
        figures |= {**sizes(found), **beside_detools(found), **on_a_board(found, step)}
        step("heap of a whole update")
        figures.update(patched.figures())
    sys.exit(report(AREA, COMMAND, figures, console))


if __name__ == "__main__":
    main()
