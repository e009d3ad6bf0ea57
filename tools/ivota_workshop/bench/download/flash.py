"""The flash part of `make bench-download`: wear, power cuts, allocations, prefix hashing."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import random
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.firmware.mpy_compiler import compile_mpy
from ivota_tools.sim import Board, Flash, Operation, Proxy, operations
from ivota_tools.sim.filesystem import BLOCK, read
from ivota_tools.toolchain import micropython

from ..device_run import LIBRARY
from ..figures import Figure
from .instructions import compiled_library, count
from .stage import Cloud, Origin, update_firmware

SIZE = 708_482  # bytes, like the vendor's own example
DEVICE = Path(__file__).parents[1] / "device"
ROOM = 136  # blocks of a board beside its firmware: the package has one file per module
LEAST_BLOCKS = 100
SEGMENT = 1436  # bytes that a board receives in one packet
SEGMENT_RATE = 700_000  # bytes per second: a hundred blocks in less than a second
SAMPLE = 40  # power cuts after which a board is started and must finish the download
BOARDS = 4  # that run in parallel

_numbers = itertools.count()


def figures() -> dict[str, Figure]:
    """Measure all flash figures."""
    with tempfile.TemporaryDirectory(prefix="ivota-bench-") as folder, stage(Path(folder)) as it:
        return {**erases(it), **power_cuts(it), **allocations(it), **rehash(it)}


@dataclass
class Stage:
    """A broker, a server and a folder for boards."""

    folder: Path
    broker: Broker
    origin: Origin

    def board(self, main: str, files: Mapping[str, bytes] | None = None, **options: Any) -> Board:
        """Return an installed board with a unique name that runs device/`main`; it is off."""
        name = f"f{next(_numbers)}"
        config = {
            "product_id": "P",
            "device_name": name,
            "version": "0.1",
            "mqtt": {"host": "127.0.0.1", "port": self.broker.port},
            **options.pop("config", {}),
        }
        contents = {"/main.py": (DEVICE / main).read_bytes(), **(files or {})}
        board = Board(self.folder / name, mpy=True, config=config, files=contents, **options)
        board.install()
        return board

    def cloud(self, board: Board) -> Cloud:
        return Cloud(self.broker.port, board.folder.name)


@contextlib.contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    with Broker(folder / "broker", "127.0.0.1", 0, print) as broker, Origin() as origin:
        yield Stage(folder, broker, origin)


def firmware(size: int) -> bytes:
    return random.Random(size).randbytes(size)


# --- wear


def erases(it: Stage, size: int = SIZE) -> dict[str, Figure]:
    """Measure flash erases of a whole download, per block of firmware."""
    counts = {
        "littlefs": erased(it, size),
        "fat": erased(it, size, fat_sync=64),
        **{f"fat_flush_{kib}k": erased(it, size, fat_sync=kib) for kib in (4, 16, 256)},
        "fat_sectors_512": erased(it, size, fat_sync=64, fat_sector=512),
    }
    return {
        f"erases_per_block_{name}": Figure(
            round(count / -(-size // BLOCK), 3), "<= 1.03" if name == "littlefs" else "", "erases"
        )
        for name, count in counts.items()
    }


def erased(it: Stage, size: int, fat_sync: int = 0, **options: Any) -> int:
    """Count erases from the push to the hand-over.

    `fat_sync`: stage the firmware on FAT, and flush every so many KiB.
    """
    data = firmware(size)
    it.origin.serve(data)
    if fat_sync:
        options["fat_blocks"] = size // BLOCK + ROOM
        options["config"] = {"firmware_dir": "/fat/firmware"}
        options["files"] = {"/lib/ivota/file_target.mpy": _flushing_every(fat_sync)}
    with it.board("download.py", **options) as board, it.cloud(board) as cloud:
        board.power_on()
        cloud.wait_version("0.1")
        before = _erased(board)
        cloud.push(update_firmware("0.2", it.origin.url(), data))
        board.wait_log(f"app: has 0.2 {hashlib.md5(data).hexdigest()}", 120)
        count = _erased(board) - before
        if not fat_sync and board.read("/firmware/0.2.bin") != data:
            raise RuntimeError("what is on the flash is not what was sent")
    return count


def _flushing_every(kib: int) -> bytes:
    """Return file_target.py with a different flush interval on FAT."""
    source = (LIBRARY / "ivota" / "file_target.py").read_text()
    changed, count = re.subn(
        r"(?m)^_FAT_SYNC = const\(\w+\)", f"_FAT_SYNC = const({kib * 1024 - 1})", source
    )
    if count != 1:
        raise RuntimeError("file_target.py does not say how often it flushes on FAT")
    return compile_mpy(changed.encode(), "/lib/ivota/file_target.py")


def _erased(board: Board) -> int:
    return sum(each.counts()["erases"] for each in (board.flash, board.fat) if each)


# --- power cuts


@dataclass
class Cuts:
    """The offsets where a download resumes after a cut at each operation of the flash.

    `offsets`: for each operation, the offset with the power cut before it and in the middle of it;
    the last entry is the offset after all operations. `lost`: bytes received by then, minus that
    offset.
    """

    base: bytes
    operations: list[Operation]
    offsets: list[tuple[int, ...]]
    lost: list[int]
    push: dict[str, Any]
    seed: int


def power_cuts(it: Stage, size: int = SIZE, sample: int = SAMPLE) -> dict[str, Figure]:
    cuts = cut_everywhere(it, size)
    resumed = resume(it, cuts, size, sample)
    return {
        "power_cut_loss_max": Figure(max(cuts.lost), f"<= {BLOCK}", "bytes"),
        "power_cut_places": Figure(2 * len(cuts.operations), "", "cuts"),
        "power_cut_resumed": Figure(resumed, f"== {sample}", "downloads"),
    }


def cut_everywhere(it: Stage, size: int, seed: int = 1) -> Cuts:
    """Download once, then cut at each of its flash operations, and in the middle of each.

    Raises RuntimeError if a cut leaves a wrong byte.
    """
    data = firmware(size)
    it.origin.serve(data)
    blocks = size // BLOCK + ROOM
    with it.board("download.py", record=True, blocks=blocks) as board, it.cloud(board) as cloud:
        assert board.flash and board.record
        base = board.flash.path.read_bytes()
        board.power_on()
        cloud.wait_version("0.1")
        push = update_firmware("0.2", it.origin.url(), data)
        cloud.push(push)
        board.wait_log("app: has", 300)
        board.stop()
        found = list(operations(board.record))
        arguments = [str(board.record), json.dumps(push), str(seed)]
        image = board.folder / "base.img"
    image.write_bytes(base)
    offsets = _offsets(str(image), *arguments)
    lost = []
    now = bytearray(base)
    for operation, pair in zip(found, offsets[:-1], strict=True):
        _compare(now, pair[0], data)
        operation.apply(now)
        lost += [operation.received - offset for offset in pair]
    _compare(now, offsets[-1][0], data)
    lost.append(size - offsets[-1][0])
    return Cuts(base, found, offsets, lost, push, seed)


def _offsets(*arguments: str) -> list[tuple[int, ...]]:
    done = subprocess.run(
        [*micropython(64), "-X", "heapsize=16M", str(DEVICE / "offsets.py"), *arguments],
        env={"MICROPYPATH": f".frozen:{LIBRARY}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"offsets.py failed:\n{done.stdout[-2000:]}")
    return [tuple(map(int, line.split())) for line in done.stdout.splitlines()]


def _compare(image: bytearray, offset: int, data: bytes) -> None:
    """Raise RuntimeError unless the firmware on the image reaches the offset and is correct."""
    try:
        kept = read(image, len(image) // BLOCK, "/firmware/0.2.bin")
    except FileNotFoundError:
        kept = b""
    if len(kept) != offset or kept != data[:offset]:
        raise RuntimeError(f"after a cut {len(kept)} bytes are on flash, {offset} are used")


def resume(it: Stage, cuts: Cuts, size: int, sample: int) -> int:
    """Start boards on `sample` of the images; return how many resumed correctly and completed."""
    data = firmware(size)
    it.origin.serve(data)
    numbers = range(len(cuts.operations))
    chosen = sorted(random.Random(cuts.seed).sample(numbers, sample))
    images = {}
    now = bytearray(cuts.base)
    for number in numbers[: chosen[-1] + 1]:
        if number in chosen:
            images[number] = bytearray(now)
            if number % 2:
                cuts.operations[number].tear(images[number], number)
        cuts.operations[number].apply(now)
    with ThreadPoolExecutor(BOARDS) as pool:
        return sum(pool.map(lambda image: _resumes(it, cuts, image, data), images.values()))


def _resumes(it: Stage, cuts: Cuts, image: bytearray, data: bytes) -> bool:
    with it.board("download.py", blocks=len(image) // BLOCK) as board:
        assert board.flash
        name = board.folder.name
        Flash(board.flash.path, board.flash.blocks).path.write_bytes(image)
        config = json.loads(board.read("/ivota.json"))
        board.write("/ivota.json", json.dumps({**config, "device_name": name}).encode())
        with it.cloud(board) as cloud:
            board.power_on()
            cloud.wait_version("0.1")
            kept = _length(board)
            cloud.push(cuts.push)
            board.wait_log(f"app: has 0.2 {cuts.push['md5sum']}", 120)
        board.stop()
        offset = int(board.wait_log(r"download offset=(\d+)")[1])
        return offset == kept and board.read("/firmware/0.2.bin") == data


def _length(board: Board) -> int:
    try:
        return len(board.read("/firmware/0.2.bin"))
    except FileNotFoundError:
        return 0


# --- allocations


def allocations(it: Stage, size: int = SIZE) -> dict[str, Figure]:
    """Return 0 if at least a hundred blocks in a row were received without any allocation."""
    for bits in (32, 64):
        for rate in (0, SEGMENT_RATE):
            # On a machine with other load, the first second may be slow.
            held = locked(it, 2 * size, bits, rate) + locked(it, 2 * size, bits, rate)
            # If each segment was received separately, a block takes at least three steps.
            apart = 2 if rate else 0
            if not any(
                blocks >= LEAST_BLOCKS and steps >= apart * blocks for blocks, steps in held
            ):
                raise RuntimeError(f"blocks and steps in a row: {held}, {bits} bits, {rate=}")
    return {"allocations_per_block": Figure(0, "<= 0", "allocations")}


def locked(it: Stage, size: int, bits: int, rate: int) -> list[tuple[int, int]]:
    """Return the blocks received in a row and their steps, for each time the heap was locked.

    `rate`: of a sender in segments, in bytes per second; 0: in bulk. Raises RuntimeError if
    anything was allocated.
    """
    data = firmware(size)
    it.origin.serve(data)
    with (
        it.board("locked.py", bits=bits, blocks=size // BLOCK + ROOM) as board,
        it.cloud(board) as cloud,
        Proxy("127.0.0.1", it.origin.port, buffer=8192) as proxy,
    ):
        if rate:
            proxy.segment(SEGMENT)
            proxy.pace(rate)
        board.power_on()
        cloud.wait_version("0.1")
        cloud.push(update_firmware("0.2", it.origin.url(proxy.port), data))
        board.wait_log("verified|locked: failed|REPL", 120)
        board.stop()
        held = [re.match(r"locked: (\d+) (\d+)", line) for line in board.log]
        found = [(int(each[1]), int(each[2])) for each in held if each]
        said = "\n".join(board.log)
        if not found or "verified" not in said or "retry" in said or "link_lost" in said:
            raise RuntimeError("something was allocated:\n" + board.tail())
    return found


# --- the hash of the bytes that are on flash already


def rehash(it: Stage, size: int = 512 * 1024) -> dict[str, Figure]:
    """Measure instructions per byte of re-hashing firmware, relative to a bare loop."""
    library = compiled_library(it.folder / "lib")
    # Both sizes include the cost of starting.
    bare, ours = (
        (run(it, 3 * size, library) - run(it, size, library)) / (2 * size)
        for run in (_bare_hash, _our_hash)
    )
    return {
        "resume_rehash_ratio": Figure(round(ours / bare, 3), "<= 1.15", "ratio"),
        "resume_rehash_instructions": Figure(round(ours, 2), "", "instructions/byte"),
        "resume_rehash_instructions_bare": Figure(round(bare, 2), "", "instructions/byte"),
    }


def _bare_hash(it: Stage, size: int, library: Path) -> int:
    path = it.folder / f"bare-{size}"
    path.write_bytes(firmware(size))
    return count(DEVICE / "rehash.py", "bare", str(path), library=library)


def _our_hash(it: Stage, size: int, library: Path) -> int:
    folder = it.folder / f"ours-{size}"
    folder.mkdir()
    data = firmware(size)
    push = update_firmware("0.2", it.origin.url(), data)
    (folder / "0.2.bin").write_bytes(data)
    known = {"version": "0.2", "md5sum": push["md5sum"], "file_size": size, "position": size}
    (folder / "0.2.json").write_text(json.dumps(known))
    config = {
        "product_id": "P",
        "device_name": folder.name,
        "mqtt": {"host": "127.0.0.1", "port": it.broker.port},
    }
    arguments = "ours", json.dumps(config), str(folder), json.dumps(push)
    return count(DEVICE / "rehash.py", *arguments, library=library)
