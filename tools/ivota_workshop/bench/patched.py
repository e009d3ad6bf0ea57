"""Find the smallest heap in which a whole delta update succeeds, with the agent.

`python -m ivota_workshop.bench.patched` finds it; `--at BYTES` tries one size and prints the
board's output.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ivota_tools.common.project_files import CHECKOUT
from ivota_tools.firmware import bundle, patch
from ivota_tools.firmware.mpy_compiler import compile_mpy
from ivota_tools.sim.crc_json import kept

from .download.heap import LANES, Lanes, smallest
from .download.lane import SIZE, VERSION, lane
from .figures import Figure

BASE = "0.1"
_ACTIVE = f"/firmware/{BASE}.bin"
# It keeps running, as an application does, while the client runs in its thread.
_APP = b"""import time


def main():
    while True:
        time.sleep(1)
"""
_CHANGED = 4  # places of _BYTES each, so that the delta is long enough to be cut in two
_BYTES = 2000


def _bundle(version: str, data: bytes) -> bytes:
    library = CHECKOUT / "lib"
    files = {"app.py": _APP, "data.bin": data}
    for path in [library / "bundlefs.py", *sorted((library / "ivota").glob("*.py"))]:
        place = path.relative_to(CHECKOUT).with_suffix(".mpy").as_posix()
        files[place] = compile_mpy(path.read_bytes(), str(path.relative_to(CHECKOUT)))
    return bundle.build(files, "minimal", version)


def pair() -> tuple[bytes, bytes]:
    """Return two bundles of about SIZE bytes; the second differs in a few KiB."""
    chance = random.Random("delta")
    data = bytearray(chance.randbytes(SIZE - 100_000))
    base = _bundle(BASE, bytes(data))
    for _ in range(_CHANGED):
        at = chance.randrange(len(data) - _BYTES)
        data[at : at + _BYTES] = chance.randbytes(_BYTES)
    return base, _bundle(VERSION, bytes(data))


@contextmanager
def lanes(number: int = LANES) -> Iterator[Lanes]:
    """Provide lanes of boards that run the base and receive the delta."""
    base, result = pair()
    delta = patch.make(base, result, base_version=BASE)
    state = {"active": _ACTIVE, "sums": {_ACTIVE: hashlib.md5(base).hexdigest()}}
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ivota-bench-")))
        (root / "full.bin").write_bytes(result)
        (root / "delta.bin").write_bytes(delta)
        made = []
        for n in range(number):
            each = stack.enter_context(lane(root / f"lane{n}", root / "full.bin"))
            each.upload(root / "delta.bin")
            made.append(each)
        yield Lanes(made, len(delta), {_ACTIVE: base, "/ivota-state.json": kept(state)})


def figures() -> dict[str, Figure]:
    with lanes() as patched:
        least = smallest(patched.succeed, 8192, 131_072)
    return {"heap_bytes_min_32bit_delta": Figure(least, "", "bytes")}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ivota_workshop.bench.patched")
    parser.add_argument("--at", type=int, help="try this heap only, and print the board's log")
    given = parser.parse_args()
    if given.at:
        with lanes(1) as patched:
            outcome = patched.update(given.at)
        print("\n".join(outcome.log))
        print(f"{given.at}: {outcome.wrong or 'done'}, {outcome.received} bytes")
    else:
        print(figures()["heap_bytes_min_32bit_delta"].value)


if __name__ == "__main__":
    main()
