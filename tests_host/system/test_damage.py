"""One file on the flash is damaged: something that takes an update starts all the same.

Every file but boot.py and main.py, which are never written again, and every kind of damage, one at
a time, on a board that has a confirmed bundle, the one before it, and a download begun.
`IVOTA_DAMAGE_SEED=7` flips other bits.
"""

from __future__ import annotations

import json
import os
import random
import time
from binascii import crc32
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

import pytest
from badserver import BadServer, Step
from board_support import seen, settings
from waiting import wait_until
from wire import Wire

from ivota_tools.cloud.mqtt.mosquitto_process import Broker
from ivota_tools.firmware import bundle
from ivota_tools.firmware.mpy_compiler import compile_mpy
from ivota_tools.sim import Board
from ivota_tools.sim.filesystem import Memory, mounted, put
from ivota_tools.sim.flash import Flash
from ivota_tools.toolchain import umqtt

ROOT = Path(__file__).parents[2]
SEED = os.environ.get("IVOTA_DAMAGE_SEED", "5")
LANES = 4  # boards at once: most of each is waiting
BLOCKS = 192
FLIPS = 3  # bits of each file, one at a time
STARTERS = ("/boot.py", "/main.py")
PART = 30_000  # bytes of the download that was begun

APP = b"""
import asyncio


async def main():
    while True:
        await asyncio.sleep(1)
"""
# The board writes its configuration, as mpremote has it do: so the file has a time.
WRITER = """
with open("/ivota.json", "w") as file:
    file.write(%r)
print("written")
"""


def package() -> dict[str, bytes]:
    """lib/ivota as it lies in a bundle, and umqtt, which this interpreter has not frozen in."""
    sources = {f"lib/ivota/{path.name}": path for path in (ROOT / "lib/ivota").glob("*.py")}
    sources["lib/umqtt/simple.py"] = Path(umqtt(), "umqtt", "simple.py")
    return {
        name[:-3] + ".mpy": compile_mpy(path.read_bytes(), "/" + name)
        for name, path in sources.items()
    }


def release(version: str, files: Mapping[str, bytes] | None = None) -> bytes:
    """A bundle with an application that does nothing, and these files in place of its own."""
    return bundle.build({**package(), "app.py": APP, **(files or {})}, "idle", version)


def change(flash: Flash, files: Mapping[str, bytes | None]) -> None:
    """Writes files from outside, for a board that is off; None removes one."""
    context = Memory(bytearray(flash.path.read_bytes()))
    system = mounted(context, flash.blocks)
    for path, data in files.items():
        if data is None:
            system.remove(path)
        else:
            put(system, {path: data})
    flash.path.write_bytes(context.buffer)


def damaged(path: str, data: bytes) -> dict[str, bytes | None]:
    """Kind of damage → what is left of a file, None for nothing."""
    chance = random.Random(f"{SEED} {path}")
    result: dict[str, bytes | None] = {
        "missing": None,
        "empty": b"",
        "half": data[: len(data) // 2],
        "erased": b"\xff" * len(data),
        "random": chance.randbytes(len(data)),
    }
    for _ in range(FLIPS if data else 0):
        bit = chance.randrange(len(data) * 8)
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        result[f"bit {bit}"] = bytes(flipped)
    return result


@dataclass
class Lane:
    """A board that is damaged again and again, with a device name and a cloud of its own."""

    board: Board
    whole: Flash
    wire: Wire
    server: BadServer

    def start(self, files: Mapping[str, bytes | None]) -> int:
        """Starts the prepared board, with these files damaged; how much was said before."""
        self.board.stop()
        self.whole.copy(self.board.flash.path)
        change(self.board.flash, files)
        self.board.log.clear()
        self.board.resets = 0
        before = len(self.wire.messages)
        self.board.power_on()
        self.wire.wait(lambda message: message.kind == "report_version", "a version", after=before)
        return before

    def update(self, before: int, new: bytes, tries: int = 1) -> None:
        """Version 0.4, of which a part may be there, is taken to `done` with the right bytes."""
        for _ in range(tries):
            self.wire.push("0.4", self.server.url("/0.4.bin"), new)
            final = self.wire.wait(
                lambda message: message.state in ("done", "fail"), "the end of 0.4", after=before
            )
            assert final.json["report"]["version"] == "0.4"
            if final.state == "done":
                break
            before = len(self.wire.messages)
        assert final.state == "done", final
        self.board.stop()
        assert self.board.read("/firmware/0.4.bin") == new


def new_board(folder: Path, **more: object) -> Board:
    """As `ivota board install` leaves one: all compiled but bundlefs."""
    source = (ROOT / "lib/bundlefs.py").read_bytes()
    files: dict[str, bytes | Path] = {"/bundlefs.py": source, "/lib/bundlefs.py": source}
    files.update(more.pop("files", {}))  # type: ignore[call-overload]
    return Board(folder, mpy=True, blocks=BLOCKS, files=files, **more)  # type: ignore[arg-type]


def install(board: Board, config: Mapping[str, object]) -> None:
    board.install()
    change(board.flash, {"/bundlefs.mpy": None, "/lib/bundlefs.mpy": None})
    configure(board, config)


def configure(board: Board, config: Mapping[str, object]) -> None:
    """Has the board write its own configuration."""
    board.stop()
    start = len(board.log)
    board.flash.write({"/main.py": (WRITER % json.dumps(config)).encode()})
    board.power_on()
    board.wait_log("written", start=start)
    board.stop()
    board.flash.write({"/main.py": (ROOT / "main.py").read_bytes()})


@pytest.fixture(scope="module")
def new() -> bytes:
    return release("0.4")


@pytest.fixture(scope="module")
def lanes(
    broker: Broker, tmp_path_factory: pytest.TempPathFactory, new: bytes
) -> Iterator[list[Lane]]:
    """Boards on which 0.3 runs, 0.2 ran before it, and 0.4 is begun."""
    root = tmp_path_factory.mktemp("damage")
    made: list[Lane] = []
    with BadServer() as server:
        server.add("/0.2.bin", release("0.2"))
        server.add("/0.3.bin", release("0.3"))
        server.add("/0.4.bin", new)
        server.add("/part.bin", new, [Step(hold_at=PART)] * LANES)

        def prepare(number: int) -> Lane:
            name = f"damage{number}"
            board = new_board(root / name)
            install(board, settings(name, broker.port))
            wire = Wire(broker.port, name)
            wire.start(board)
            for version in ("0.2", "0.3"):
                data = release(version)
                wire.push(version, server.url(f"/{version}.bin"), data)
                wire.wait(
                    lambda m, v=version: m.state == "done" and m.json["report"]["version"] == v,
                    f"{version} done",
                )
                board.wait_log(f"confirmed version={version}")
            wire.push("0.4", server.url("/part.bin"), new)
            wait_until(
                lambda: len(seen(board, "/firmware/0.4.bin")) >= PART // 2,
                "half of the part of 0.4 on flash",
            )
            board.stop()
            assert board.failure is None, board.failure
            return Lane(board, board.flash.copy(root / f"{name}.img"), wire, server)

        with ThreadPoolExecutor(LANES) as pool:
            made += pool.map(prepare, range(LANES))
        server.release()
        yield made
    for lane in made:
        lane.board.stop()
        lane.wire.__exit__()


def files(flash: Flash) -> dict[str, bytes]:
    """What can be damaged."""
    return {path: data for path, data in flash.tree().items() if path not in STARTERS}


def on_all(lanes: list[Lane], cases: list[object], check: Callable[[Lane, object], None]) -> None:
    """Runs every case on one of the lanes; fails with all that failed."""
    free: Queue[Lane] = Queue()
    for lane in lanes:
        free.put(lane)
    failed: list[str] = []

    def run(case: object) -> None:
        lane = free.get()
        try:
            check(lane, case)
            lane.board.stop()
            assert lane.board.failure is None, lane.board.failure
        except Exception as error:
            failed.append(f"--- {case}: {error}\n{lane.board.tail()}")
            lane.board.stop()
            lane.board.failure = None
        finally:
            free.put(lane)

    with ThreadPoolExecutor(len(lanes)) as pool:
        list(pool.map(run, cases))
    assert not failed, f"{len(failed)} of {len(cases)}, seed {SEED}\n" + "\n".join(failed[:5])


@pytest.mark.slow
def test_every_kind_of_damage_to_every_file(lanes):
    """The board connects and says which version runs, without one reset."""
    cases = [
        (path, number, kind)
        for path, data in files(lanes[0].whole).items()
        for number, kind in enumerate(damaged(path, data))
    ]

    def check(lane: Lane, case: tuple[str, int, str]) -> None:
        path, number, _ = case
        # A file may be a byte longer on another lane, where other bits are flipped then.
        lane.start({path: list(damaged(path, files(lane.whole)[path]).values())[number]})
        assert lane.board.resets == 0

    on_all(lanes, cases, check)
    assert len(cases) > 400


@pytest.mark.slow
def test_an_update_after_damage_to_each_file(lanes, new):
    """A whole update, each file with another kind of damage."""
    cases = [(path, number) for number, path in enumerate(files(lanes[0].whole))]

    def check(lane: Lane, case: tuple[str, int]) -> None:
        path, number = case
        kinds = list(damaged(path, files(lane.whole)[path]).values())
        # Of a part that is not what came in the first push takes the blame, with -4.
        tries = 2 if path == "/firmware/0.4.bin" else 1
        lane.update(lane.start({path: kinds[number % len(kinds)]}), new, tries)

    on_all(lanes, cases, check)


@pytest.fixture
def alone(broker: Broker, name: str, tmp_path: Path) -> Iterator[Callable[..., Board]]:
    """Makes a board as installed, with nothing on it but the factory package; off."""
    made: list[Board] = []

    def make(files: Mapping[str, bytes] | None = None, **changes: object) -> Board:
        board = new_board(tmp_path / "board", files=files or {})
        made.append(board)
        install(board, settings(name, broker.port, **changes))
        return board

    yield make
    for board in made:
        board.stop()
        print(*board.log, sep="\n")
        assert board.failure is None, board.failure


def kept_version(board: Board) -> str | None:
    """Of the configuration that the board keeps."""
    kept = seen(board, "/ivota-kept.json")
    return json.loads(kept)["config"]["version"] if kept else None


@pytest.mark.slow
def test_a_configuration_that_does_not_reach_the_cloud(alone, broker, name, wire):
    """Another host was written by mistake: the one that worked is back after a while."""
    board = alone(trial={"limit_s": 2})
    wire.start(board)
    wait_until(lambda: kept_version(board) == "0.1", "a configuration that is kept")
    wrong = settings(name, 1, trial={"limit_s": 2}, version="0.5")
    time.sleep(1.1)  # a file's time is in seconds
    configure(board, wrong)
    heard, start = len(wire.messages), len(board.log)
    board.power_on()
    board.wait_log("link_lost", start=start)
    # Only the way to the cloud is another: the version is what it was told at the start.
    wire.wait_version("0.5", after=heard)
    assert board.resets == 0
    board.stop()
    assert json.loads(board.read("/ivota.json")) == wrong

    # What works is kept in its place, and not written again when nothing has changed.
    time.sleep(1.1)
    configure(board, settings(name, broker.port, version="0.6"))
    wire.start(board, "0.6")
    wait_until(lambda: kept_version(board) == "0.6", "the new configuration kept")
    board.stop()
    # A start more, for what the one before it has left to be written.
    wire.start(board, "0.6")
    wire.settle(board)
    board.stop()
    kept = board.read("/ivota-kept.json")
    assert json.loads(kept)["config"]["version"] == "0.6"
    written = board.flash_counts()["programs"]
    wire.start(board, "0.6")
    wire.settle(board)
    board.stop()
    assert board.flash_counts()["programs"] == written
    assert board.read("/ivota-kept.json") == kept


HANG = b"while True:\n    pass\n"
HANGING = {
    "the application": {"app.py": HANG},
    "the application's module": {"app.py": b"import slow\n" + APP, "lib/slow.py": HANG},
    "the agent": {"lib/ivota/agent.mpy": compile_mpy(HANG, "/lib/ivota/agent.py")},
    "a module of the client": {
        "lib/ivota/update_client.mpy": compile_mpy(HANG, "/lib/ivota/update_client.py")
    },
}


@pytest.mark.matrix
@pytest.mark.slow
@pytest.mark.parametrize("what", HANGING)
def test_a_version_that_hangs_when_it_is_imported(what, alone, wire, server):
    """The watchdog ends each of its starts: boot.py's, where the agent is not there yet."""
    source = (ROOT / "lib/bundlefs.py").read_bytes()
    assert source.count(b"(60000, 8000)") == 1
    quick = sealed(source.replace(b"(60000, 8000)", b"(2000, 8000)"))
    board = alone({"/bundlefs.py": quick, "/lib/bundlefs.py": quick}, watchdog_s=2)
    board.power_on()
    wire.wait_version("0.1")
    data = release("0.2", HANGING[what])
    server.add("/0.2.bin", data)
    wire.push("0.2", server.url("/0.2.bin"), data)
    failure = wire.wait_state("fail").json["report"]
    assert failure["version"] == "0.2"
    assert failure["progress"]["result_code"] == "-5"
    assert failure["progress"]["result_msg"] == "hung in its trial: the watchdog reset the board"
    assert board.log.count("sim: watchdog reset") == 3
    wire.wait_version("0.1", after=1)


def sealed(source: bytes) -> bytes:
    """bundlefs with the right last line in place of its own."""
    lines = source.splitlines()[:-1]
    crc = 0
    for line in lines:
        crc = crc32(line.rstrip(), crc)
    return b"\n".join([*lines, b"# %08x\n" % crc])


@pytest.mark.matrix
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mpy", "py"])
def test_copies_of_bundlefs_of_both_kinds(kind, alone, wire, server, new):
    """Either copy may be compiled; a damaged one does not matter.

    The loader of .mpy hangs on some that are cut off (seen in 1.26): they come last.
    """
    source = (ROOT / "lib/bundlefs.py").read_bytes()
    ends = {"mpy": compile_mpy(source, "/bundlefs.py"), "py": source}
    other = "py" if kind == "mpy" else "mpy"
    board = alone()
    board.power_on()
    wire.wait_version("0.1")
    server.add("/0.4.bin", new)
    wire.push("0.4", server.url("/0.4.bin"), new)
    wire.wait_state("done")
    board.wait_log("confirmed version=0.4")
    board.stop()
    copies = {"/bundlefs.py": None, "/lib/bundlefs.py": None}
    change(board.flash, copies)
    paths = {f"/bundlefs.{kind}": ends[kind], f"/lib/bundlefs.{other}": ends[other]}
    for path in paths:
        for damage in ("missing", "empty", "half", "erased", "random"):
            left = damaged(path, paths[path])[damage]
            change(board.flash, {**paths, path: left or b""})
            if left is None:
                change(board.flash, {path: None})
            wire.start(board, "0.4")
            board.stop()
            assert board.failure is None, (path, damage)
