"""`make bench-trust`: measure a signature's cost on a board; write build/bench/ and docs/."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from ivota_tools.firmware.release import Signer, sign
from ivota_tools.firmware.signing_keys import PrivateKey, generate, load_private
from ivota_tools.toolchain import micropython

from .download.heap import LANES, Lanes, median, smallest
from .download.instructions import compiled_library, count
from .download.lane import SIZE, lane, make_firmware
from .figures import Figure, report
from .steps import steps

AREA = "trust"
COMMAND = "make bench-trust"
SCRIPT = Path(__file__).parent / "device" / "count_signature.py"
TARGET = "t"
SIZES = (512, 1_000_000)  # bytes of payload: negligible, and large enough for its digest to count


def make_key(folder: Path) -> PrivateKey:
    """Create a key whose public half is `folder`/owner.pub."""
    generate(folder / "owner.key", None)
    return load_private(folder / "owner.key", str)


@contextmanager
def lanes(number: int = LANES) -> Iterator[Lanes]:
    """Provide lanes of boards that accept only signed firmware."""
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ivota-bench-")))
        signer = Signer(make_key(root), 1, TARGET)
        firmware = sign(make_firmware(root), signer, out=root / "signed.bin").path
        made = [stack.enter_context(lane(root / f"lane{n}", firmware)) for n in range(number)]
        public = root / "owner.pub"
        yield Lanes(made, SIZE, {"/owner.pub": public}, {"keys": ["/owner.pub"], "target": TARGET})


def heap() -> dict[str, Figure]:
    with lanes() as signed:
        _, usual = median(signed)
    return {"heap_bytes_min_32bit_signed": Figure(usual, "<= 41984", "bytes")}


@dataclass(frozen=True)
class Work:
    """A compiled library, a key, and firmware of several sizes signed with it."""

    library: Path
    folder: Path

    @classmethod
    @contextmanager
    def make(cls) -> Iterator[Work]:
        with tempfile.TemporaryDirectory(prefix="ivota-bench-") as name:
            folder = Path(name)
            signer = Signer(make_key(folder), 2, TARGET)
            for size in SIZES:
                firmware = signer.sign(random.Random(size).randbytes(size), "2", "other")
                (folder / str(size)).write_bytes(firmware)
            yield cls(compiled_library(folder / "lib"), folder)

    def arguments(self, size: int, times: int) -> list[str]:
        return [str(self.folder / "owner.pub"), str(self.folder / str(size)), str(times)]

    def instructions(self, size: int) -> int:
        """Count the instructions of one verification."""
        once, twice = (
            count(SCRIPT, *self.arguments(size, times), library=self.library) for times in (1, 2)
        )
        return twice - once

    def heap(self, times: int) -> int:
        """Find the smallest heap in which that many verifications run, in bytes."""
        return smallest(lambda heaps: [self._runs(times, each) for each in heaps], 2048, 65_536)

    def _runs(self, times: int, heap_bytes: int) -> bool:
        command = [*micropython(32), "-X", f"heapsize={heap_bytes}", str(SCRIPT)]
        environment = {**os.environ, "MICROPYPATH": f".frozen:{self.library}"}
        done = subprocess.run(
            [*command, *self.arguments(SIZES[0], times)],
            env=environment,
            capture_output=True,
            timeout=60,
        )
        return done.returncode == 0


def alone() -> dict[str, Figure]:
    """Measure the cost of a verification without other activity."""
    with Work.make() as work:
        small, large = (work.instructions(size) for size in SIZES)
        heap_bytes = work.heap(1) - work.heap(0)
    per_byte = round((large - small) / (SIZES[1] - SIZES[0]), 2)
    return {
        "signature_instructions": Figure(small, "", "instructions"),
        "signature_instructions_per_byte": Figure(per_byte, "", "instructions/byte"),
        "signature_heap_bytes_32bit": Figure(heap_bytes, "", "bytes"),
    }


def main() -> None:
    console = Console()
    with steps(console, 2) as step:
        step("heap")
        figures = heap()
        step("instructions")
        figures |= alone()
    sys.exit(report(AREA, COMMAND, figures, console, keep=True))


if __name__ == "__main__":
    main()
