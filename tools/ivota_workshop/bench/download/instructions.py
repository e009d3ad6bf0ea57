"""Count the instructions per byte of a whole update with callgrind, and of a bare loop.

`python -m ivota_workshop.bench.download.instructions --profile PATH` keeps callgrind's output for
the update in bulk, for callgrind_annotate.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.firmware.mpy_compiler import compile_mpy
from ivota_tools.toolchain import micropython, umqtt, valgrind

from ..device_run import LIBRARY
from ..figures import Figure
from ..traps.server import Peer, Server, serve_file
from .stage import update_firmware

DEVICE = Path(__file__).parents[1] / "device"
SIZE = 708_482  # bytes, like the vendor's own example
BLOCK = 4096
SEGMENT = 1436  # bytes that a board receives in one packet
WAIT_S = 300.0

HEAP = "224k"  # for 64-bit objects, equivalent to 112 KiB on a board
IDLE_S = 0.002  # the time that Client.run sleeps in a download


def count(
    script: Path,
    *args: str,
    library: Path | None = None,
    idle: Callable[[], bool] | None = None,
    profile: Path | None = None,
    heap: str = HEAP,
) -> int:
    """Count the instructions that 64-bit MicroPython executes for a script.

    `library`, a folder of .mpy files, goes into its module path. When the script says "idle" it
    gets a line in return: as soon as `idle()` has provided something to do, or after a short wait
    if it returns False. `profile` is the path for callgrind's output. Raises RuntimeError if the
    script fails.
    """
    with tempfile.TemporaryDirectory(prefix="ivota-count-") as folder:
        out = profile or Path(folder, "callgrind.out")
        tool = [*valgrind(), "-q", "--tool=callgrind", f"--callgrind-out-file={out}"]
        process = subprocess.Popen(
            [*tool, *micropython(64), "-X", f"heapsize={heap}", str(script), *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "MICROPYPATH": f".frozen:{library or LIBRARY}"},
        )
        limit = threading.Timer(WAIT_S, process.kill)
        limit.start()
        said = []
        with process:
            assert process.stdin and process.stdout
            for line in process.stdout:
                if line != "idle\n":
                    said.append(line)
                    continue
                if not (idle and idle()):
                    time.sleep(IDLE_S)
                process.stdin.write("\n")
                process.stdin.flush()
        limit.cancel()
        if process.returncode:
            raise RuntimeError(f"{script.name} failed, {process.returncode}:\n{''.join(said)}")
        totals = re.search(r"^totals: (\d+)", out.read_text(), re.MULTILINE)
    if not totals:
        raise RuntimeError(f"callgrind has counted nothing of {script.name}:\n{''.join(said)}")
    return int(totals[1])


def compiled_library(folder: Path) -> Path:
    """Compile ivota, bundlefs and umqtt to .mpy, so that the compiler is not counted."""
    sources = {path.relative_to(LIBRARY): path for path in LIBRARY.rglob("*.py")}
    sources[Path("umqtt/simple.py")] = umqtt() / "umqtt" / "simple.py"
    for name, path in sources.items():
        place = folder / name.with_suffix(".mpy")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(compile_mpy(path.read_bytes(), str(name)))
    return folder


class Segments:
    """Serve `data` in segments, one per call of `send`, when its reader waits for more.

    However slowly the reader runs, it then behaves like a fast reader on a slow link.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._peer: Peer | None = None
        self._at = 0

    def serve(self, peer: Peer) -> None:
        _, first = peer.request()
        peer.partial(first, len(self._data))
        self._at, self._peer = first, peer
        peer.hold()

    def send(self) -> bool:
        """Send the next segment; return False if there is none."""
        if not self._peer or self._at >= len(self._data):
            return False
        self._peer.send(self._data[self._at : self._at + SEGMENT])
        self._at += SEGMENT
        return True


class Counter:
    """Count whole updates of one firmware, minus the cost of a start without an update."""

    def __init__(self, folder: Path, broker: Broker) -> None:
        self._folder = folder
        self._broker = broker
        self._library = compiled_library(folder / "lib")
        self._data = random.Random(1).randbytes(SIZE)
        self._start_up = self._run(None, b"")

    def _run(
        self,
        port: int | None,
        data: bytes,
        idle: Callable[[], bool] | None = None,
        profile: Path | None = None,
    ) -> int:
        with tempfile.TemporaryDirectory(dir=self._folder) as flash:
            config = {
                "product_id": "P",
                "device_name": "counted",
                "mqtt": {"host": "127.0.0.1", "port": self._broker.port},
            }
            args = [json.dumps(config), flash]
            if port is not None:
                push = update_firmware("2", f"http://127.0.0.1:{port}/firmware", data)
                args.append(json.dumps(push))
            found = count(
                DEVICE / "count_update.py",
                *args,
                library=self._library,
                idle=idle,
                profile=profile,
            )
            if port is not None:
                written = Path(flash, "2.bin").read_bytes()
                assert hashlib.md5(written).digest() == hashlib.md5(data).digest()
        return found

    def bulk(self, profile: Path | None = None) -> float:
        """Return the instructions per byte if the server sends as fast as it can."""
        return self._bulk(self._data, profile) / SIZE

    def apart(self) -> tuple[float, float]:
        """Return the instructions of an update of one block, and per additional byte."""
        least = self._bulk(self._data[:BLOCK])
        return least, (self._bulk(self._data) - least) / (SIZE - BLOCK)

    def _bulk(self, data: bytes, profile: Path | None = None) -> int:
        serve = serve_file(data)
        with Server(serve, serve, 0) as server:
            return self._run(server.port, data, profile=profile) - self._start_up

    def segments(self, profile: Path | None = None) -> float:
        """Like `bulk`, but the firmware arrives in segments, and the board waits for each."""
        sender = Segments(self._data)
        with Server(sender.serve, sender.serve, 0) as server:
            found = self._run(server.port, self._data, sender.send, profile)
        return (found - self._start_up) / SIZE

    def bare(self) -> float:
        """Return the instructions per byte of `readinto; md5.update; write; flush` alone."""
        serve = serve_file(self._data)
        script, path = DEVICE / "count_bare.py", str(self._folder / "bare")
        with Server(serve, serve, 0) as server:
            start_up = count(script, str(server.port), "0", path)
            return (count(script, str(server.port), str(SIZE), path) - start_up) / SIZE


@contextlib.contextmanager
def _counter() -> Iterator[Counter]:
    with (
        tempfile.TemporaryDirectory(prefix="ivota-bench-") as folder,
        Broker(Path(folder, "broker"), "127.0.0.1", 0, print) as broker,
    ):
        yield Counter(Path(folder), broker)


def figures() -> dict[str, Figure]:
    with _counter() as counter:
        found = counter.bulk(), counter.segments(), counter.bare(), *counter.apart()
    bulk, segments, bare, least, more = (round(each, 2) for each in found)
    unit = "instructions/byte"
    return {
        "instructions_per_byte_bulk": Figure(bulk, "<= 25.5", unit),
        "instructions_per_byte_segments": Figure(segments, "<= 40", unit),
        "instructions_per_byte_bare": Figure(bare, "", unit),
        "instructions_of_one_block": Figure(least, "", "instructions"),
        "instructions_per_byte_more": Figure(more, "", unit),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ivota_workshop.bench.download.instructions")
    parser.add_argument("--profile", type=Path, help="keep callgrind's files in this folder")
    given = parser.parse_args()
    if given.profile:
        given.profile.mkdir(parents=True, exist_ok=True)
    with _counter() as counter:
        kept = given.profile
        print(f"bulk {counter.bulk(kept and kept / 'bulk.callgrind'):.2f}")
        print(f"segments {counter.segments(kept and kept / 'segments.callgrind'):.2f}")
        print(f"bare {counter.bare():.2f}")


if __name__ == "__main__":
    main()
